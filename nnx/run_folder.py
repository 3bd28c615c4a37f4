"""A run's folder: its configuration, checkpoint, history and pictures."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from .checkpoint import write_atomically
from .errors import CheckpointError, InputError

RUNS = Path("runs")


def next_free(path: Path) -> Path:
    """The path, or the first of path-2, path-3, ... that does not exist."""
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


@dataclass(frozen=True)
class RunConfig:
    """All that `nnx train` was told, and what it must know again to continue or to predict."""

    dataset: str
    hidden: tuple[int, ...]
    activation: str
    init: "str | float | None"
    batchnorm: bool
    dropout: float
    optimizer: str
    lr: float | None
    weight_decay: float
    clip_norm: float | None
    epochs: int
    batch_size: int
    seed: int
    dtype: str
    precision: str
    early_stopping: int | None


@dataclass(frozen=True)
class RunData:
    """What a run's network takes and gives."""

    scale: float
    """Multiplies whole-numbered pixels."""
    classes: tuple[str, ...]


class RunFolder:
    """The files of one run."""

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        self.path = Path(path)
        self.checkpoint = self.path / "checkpoint.safetensors"
        self.config = self.path / "config.json"
        self.history = self.path / "history.csv"
        self.curves = self.path / "curves.png"
        self.samples = self.path / "samples.png"

    @classmethod
    def new(cls, out: Path | None, dataset: str) -> "RunFolder":
        """An empty folder, made if need be: `out`, or the next free one under runs/."""
        if out is None:
            out = next_free(RUNS / (Path(dataset).name or "run"))
        folder = cls(out)
        if folder.config.exists() or folder.checkpoint.exists():
            raise InputError(f"{out}: holds a run already; pass --resume to continue it, or another --out.")
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{out}: cannot be made a folder ({error.strerror}); pass another --out.") from None
        if not os.access(out, os.W_OK):
            raise InputError(f"{out}: is not writable; pass another --out.")
        return folder

    @classmethod
    def existing(cls, path: Path | None) -> "RunFolder":
        """The folder of a run to be continued or looked at: `path`, or the one under runs/ that changed last."""
        if path is None:
            found = sorted(RUNS.glob("*/config.json"), key=lambda file: file.stat().st_mtime)
            if not found:
                raise InputError(f"there is no run under {RUNS}/; pass --out FOLDER of a run, or leave --resume out.")
            return cls(found[-1].parent)
        if not (path / "config.json").is_file():
            raise InputError(f"{path}: is no run folder (it has no config.json); expected one that `nnx train` wrote.")
        return cls(path)

    def write_config(self, config: RunConfig, data: RunData) -> None:
        """Keep what the run was told and what its network takes."""
        text = json.dumps({"train": asdict(config), "data": asdict(data)}, indent=2)
        write_atomically(self.config, text.encode() + b"\n")

    def read_config(self) -> tuple[RunConfig, RunData]:
        """What `write_config` wrote."""
        try:
            content = json.loads(self.config.read_text(encoding="utf-8"))
            train, data = _known(RunConfig, content["train"]), _known(RunData, content["data"])
            train["hidden"], data["classes"] = tuple(train["hidden"]), tuple(data["classes"])
            if not isinstance(train["dataset"], str) or not isinstance(data["scale"], int | float):
                raise ValueError("expected a data set's name and a number as scale")
            return RunConfig(**train), RunData(**data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{self.config}: is no configuration of a run ({error!r}); use another copy."
            ) from error

    def write_history(self, history: Mapping[str, Sequence[float]]) -> None:
        """One row an epoch; numbers as exact as they are."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["epoch", *history])
        for epoch, row in enumerate(zip(*history.values(), strict=True), 1):
            writer.writerow([epoch, *map(repr, row)])
        write_atomically(self.history, text.getvalue().encode())


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    if set(values) != names:
        raise ValueError(f"expected the entries {sorted(names)}, got {sorted(values)}")
    return dict(values)
