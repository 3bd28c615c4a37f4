"""A run's folder: its configuration, checkpoint, history and pictures."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from .. import optimizers, schedules
from .._support.files import make_folder, write_atomically
from .._support.result import write_csv
from ..backend import BackendLike
from ..datasets import (
    Dataset,
    DiskDataset,
    DiskSplits,
    PictureStyle,
    Preparation,
    Size,
    Splits,
    load,
    load_on_disk,
    reads_images,
)
from ..errors import CheckpointError, InputError, InputTypeError, unknown
from ..layers import Layer, RandomFlip, RandomShift
from ..model import MLP, Sequential
from ..networks import DeepConvNet, SimpleConvNet
from ._trainer import Trainer

SplitsOf = TypeVar("SplitsOf", Splits, DiskSplits)
RUNS = Path("runs")
MODELS = ("mlp", "simple_conv", "deep_conv")
"""The networks of `nnx train`."""
SCHEDULES = ("constant", "cosine")
OF_TABLES = ("label", "categories", "drop", "fill", "loss")
"""Settings that tell what to do with a table's columns."""
_OWN_DEFAULTS: dict[str, dict[str, Any]] = {
    "simple_conv": {"hidden": (100,)},
    "deep_conv": {"hidden": (50,), "dropout": 0.5},
}
"""Settings whose default is another one than the multilayer perceptron's."""
_SHIFT = 2  # pixels, unless a number is given


def next_free(path: Path) -> Path:
    """Return the path, or the first of path-2, path-3, ... that does not exist."""
    free, number = path, 1
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


@dataclass(frozen=True)
class RunConfig:
    """The settings of `nnx train`, which it must know again to continue or to predict."""

    dataset: str = "digits"
    image_size: str = ""
    """What pictures from image files are resized to: "PIXELS", "HEIGHTxWIDTH", or "" for what suits the files."""
    label: str = ""
    """The column of a table to be predicted; this and the next four as for `nnx.datasets.load`."""
    categories: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    fill: str = ""
    loss: str = ""
    from_disk: bool = False
    """Whether rows stay on the disk, and are read as they are trained on."""
    window: int | None = None
    """Of rows on the disk, how many are shuffled together; None as for `Trainer.fit`."""
    model: str = "mlp"
    augment: str = ""
    """What happens to pictures in training, separated by commas: "shift", "shift=PIXELS", "flip"."""
    hidden: tuple[int, ...] = (200, 100)
    activation: str = "relu"
    init: "str | float | None" = None
    batchnorm: bool = False
    dropout: float = 0.0
    optimizer: str = "adam"
    lr: float | None = None
    schedule: str = "constant"
    """How the learning rate goes: "constant", or "cosine", by half a cosine to 0 over all epochs."""
    weight_decay: float = 0.0
    clip_norm: float | None = None
    epochs: int = 20
    batch_size: int = 32
    seed: int = 0
    dtype: str = "float32"
    precision: str = "float32"
    early_stopping: int | None = None

    @classmethod
    def default(cls, name: str, model: Any) -> Any:
        """Return the default of a setting for one of `MODELS`."""
        return _OWN_DEFAULTS.get(str(model), {}).get(name, getattr(cls(), name))

    def network(self, classes: int) -> Sequential:
        """Make the network, not yet built, for so many outputs. Raises for settings that do not make one."""
        if self.model not in MODELS:
            raise unknown("model", self.model, MODELS)
        settings: dict[str, Any] = {
            "activation": self.activation,
            "init": self.init,
            "batch_norm": self.batchnorm,
            "dropout": self.dropout,
        }
        if self.model == "mlp":
            made = MLP(self.hidden, classes, **settings)
        elif len(self.hidden) != 1:
            raise InputError(f"hidden: got {self.hidden}, expected one size: {self.model} has one hidden layer.")
        else:
            kind = SimpleConvNet if self.model == "simple_conv" else DeepConvNet
            made = kind(classes, hidden=self.hidden[0], **settings)
        return Sequential(*_augmentation(self.augment), *made.layers)

    @property
    def size(self) -> Size | None:
        """The `image_size` as (height, width), or None. Raises for a text that is none."""
        if self.image_size == "":
            return None
        sides = str(self.image_size).split("x")
        if len(sides) > 2 or not all(side.isdecimal() and int(side) > 0 for side in sides):
            raise InputError(f"image_size: got {self.image_size!r}, expected PIXELS or HEIGHTxWIDTH, as 32 or 32x48.")
        return int(sides[0]), int(sides[-1])

    def data(self, known: "RunData | None" = None) -> "tuple[RunConfig, Splits]":
        """Load the data; return them with settings that give the same size of pictures again.

        Args:
            known: what a run knows of its data already; it prepares a table as it did.
        """
        if self.from_disk:
            config, stored = self.data_on_disk(known)
            return config, stored.sample()
        splits = load(self.dataset, **self._loading(known))
        return self._of_size(splits.train.shape), splits

    def data_on_disk(self, known: "RunData | None" = None) -> "tuple[RunConfig, DiskSplits]":
        """Open data that stay on the disk; arguments and results are those of `data`, which gives a sample of them."""
        stored = load_on_disk(self.dataset, **self._loading(known))
        return self._of_size(stored.train.shape), stored

    def _loading(self, known: "RunData | None") -> dict[str, Any]:
        settings = {name: getattr(self, name) for name in OF_TABLES}
        return {"seed": self.seed, "size": self.size, **settings, "preparation": None if known is None else known.table}

    def _of_size(self, shape: tuple[int, ...]) -> "RunConfig":
        return replace(self, image_size=f"{shape[0]}x{shape[1]}") if reads_images(self.dataset) else self

    def inputs(self, splits: SplitsOf) -> SplitsOf:
        """Return the data as the network takes them: as pictures with channels, or as they are stored."""
        return splits.pictures() if self.augment or self.model != "mlp" else splits

    def set_rate(self, trainer: Trainer, rows: int) -> None:
        """Set the learning rates of a trainer for all epochs over so many rows; as they are now if it is constant."""
        if self.schedule == "cosine":
            lr: Any = trainer.optimizer.lr
            steps = self.epochs * -(-rows // self.batch_size)
            trainer.optimizer.lr = schedules.Cosine(lr.lr if isinstance(lr, schedules.Cosine) else lr, steps)

    def trainer(self, classes: int, backend: BackendLike = None, **together: Any) -> Trainer:
        """Make the network and its trainer, not yet built. Raises for settings that do not make one.

        Args:
            classes: how many there are to be told apart; 0 for a number to be predicted.
            backend: as for `Trainer`.
            together: parallel and shards, as for `Trainer`.
        """
        rate = {} if self.lr is None else {"lr": self.lr}
        if self.schedule not in SCHEDULES:
            raise unknown("schedule", self.schedule, SCHEDULES)
        return Trainer(
            self.network(classes or 1),
            optimizers.optimizer(self.optimizer, **rate),
            self.loss or ("cross_entropy" if classes else "mse"),
            weight_decay=self.weight_decay,
            clip_norm=self.clip_norm,
            backend=backend,
            seed=self.seed,
            dtype=self.dtype,
            precision=self.precision,
            **together,
        )


@dataclass(frozen=True)
class RunData:
    """What is known of a run's data: how inputs are scaled, and the names of the classes."""

    scale: float
    """Multiplies whole-numbered pixels."""
    classes: tuple[str, ...]
    pictures: PictureStyle | None
    """What the pictures look like, by which others are prepared; None for inputs that are no pictures."""
    table: Preparation | None = None
    """How the columns of a table are prepared; None for data that are no table."""

    @classmethod
    def of(cls, train: Dataset | DiskDataset) -> "RunData":
        """Tell it of the data to train on."""
        if isinstance(train, DiskDataset):
            train = train.sample(1000)
        return cls(train.scale, train.classes, PictureStyle.of(train), train.preparation)


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
        """Make an empty folder for a run.

        Args:
            out: the folder; None for the next free one under runs/.
            dataset: names that one.

        Raises:
            InputError: the folder holds a run already, cannot be made, or is not writable.
        """
        if out is None:
            name = Path(dataset).name
            out = next_free(RUNS / ((name.partition(".")[0] if Path(dataset).is_file() else name) or "run"))
        folder = cls(out)
        if folder.config.exists() or folder.checkpoint.exists():
            raise InputError(f"{out}: holds a run already; pass --resume to continue it, or another --out.")
        make_folder(out, "--out", writable=True)
        return folder

    @classmethod
    def existing(cls, path: Path | None) -> "RunFolder":
        """Return the folder of a run to be continued or looked at.

        Args:
            path: the folder; None for the one under runs/ that changed last.

        Raises:
            InputError: there is no run.
        """
        if path is None:
            found = sorted(RUNS.glob("*/config.json"), key=lambda file: file.stat().st_mtime)
            if not found:
                raise InputError(f"there is no run under {RUNS}/; pass --out FOLDER of a run, or leave --resume out.")
            return cls(found[-1].parent)
        if not (path / "config.json").is_file():
            raise InputError(f"{path}: is no run folder (it has no config.json); expected one that `nnx train` wrote.")
        return cls(path)

    def write_config(self, config: RunConfig, data: RunData) -> None:
        """Write the run's settings and what is known of its data to config.json."""
        text = json.dumps({"train": asdict(config), "data": asdict(data)}, indent=2)
        write_atomically(self.config, text.encode() + b"\n")

    def read_config(self) -> tuple[RunConfig, RunData]:
        """Read what `write_config` wrote. Raises `CheckpointError` for a file that is missing or something else."""
        try:
            content = json.loads(self.config.read_text(encoding="utf-8"))
            train = _known(RunConfig, {**_BEFORE_PICTURES, **_BEFORE_TABLES, **_BEFORE_DISK, **content["train"]})
            content["data"].pop("dark", None)  # of runs of before
            data = _known(RunData, {**_BEFORE_IMAGES, **content["data"]})
            train |= {name: tuple(train[name]) for name in _TUPLES}
            data["classes"] = tuple(data["classes"])
            data["pictures"] = data["pictures"] and PictureStyle.from_json(data["pictures"])
            data["table"] = data["table"] and Preparation.from_config(data["table"])
            if not isinstance(train["dataset"], str) or not isinstance(data["scale"], int | float):
                raise ValueError("expected a data set's name and a number as scale")
            return RunConfig(**train), RunData(**data)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{self.config}: is no configuration of a run ({error!r}); use another copy."
            ) from error

    def write_history(self, history: Mapping[str, Sequence[float]]) -> None:
        """Write history.csv: a row for each epoch, numbers in full precision."""
        rows = enumerate(zip(*history.values(), strict=True), 1)
        write_csv(self.history, ["epoch", *history], ([epoch, *map(repr, row)] for epoch, row in rows))


def read_settings(path: Path) -> dict[str, Any]:
    """Read some of `RunConfig`'s fields from a JSON file: an object of them, or the config.json of a run.

    Values are checked where they are used.

    Raises:
        InputError: the file cannot be read, or holds an unknown name.
        InputTypeError: "hidden" is no list.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected a JSON file of settings.") from None
    except ValueError as error:
        raise InputError(f"{path}: is no JSON ({error}); expected an object such as {_EXAMPLE}.") from None
    if isinstance(content, dict) and isinstance(content.get("train"), dict):
        content = content["train"]
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds {json.dumps(content)[:40]}, expected an object such as {_EXAMPLE}.")
    names = [field.name for field in fields(RunConfig)]
    for name in content:
        if name not in names:
            raise InputError(f"{path}: {unknown('setting', name, names)}")
    for name in _TUPLES & content.keys():
        if not isinstance(content[name], list):
            example = "[100, 100]" if name == "hidden" else '["colour"]'
            raise InputTypeError(f"{path}: {name}: got {content[name]!r}, expected a list such as {example}.")
        content[name] = tuple(content[name])
    return content


_BEFORE_PICTURES = {"model": "mlp", "augment": "", "schedule": "constant", "image_size": ""}
_BEFORE_TABLES: dict[str, Any] = {"label": "", "categories": (), "drop": (), "fill": "", "loss": ""}
_BEFORE_DISK: dict[str, Any] = {"from_disk": False, "window": None}
"""What runs of before these settings were trained with."""
_BEFORE_IMAGES = {"pictures": None, "table": None}
"""What is known of the data of runs of before."""
_TUPLES = {"hidden", "categories", "drop"}
_EXAMPLE = '{"lr": 0.01, "hidden": [100, 100]}'


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    if set(values) != names:
        raise ValueError(f"expected the entries {sorted(names)}, got {sorted(values)}")
    return dict(values)


def _augmentation(text: Any) -> list[Layer]:
    """Make the layers that `augment` stands for."""
    layers: list[Layer] = []
    for word in (part.strip() for part in str(text).split(",") if part.strip()):
        kind, equals, number = word.partition("=")
        if word == "flip":
            layers.append(RandomFlip())
        elif kind == "shift" and (not equals or number.isdecimal()):
            layers.append(RandomShift(int(number) if equals else _SHIFT))
        else:
            raise InputError(f"augment: got {word!r}, expected shift, shift=PIXELS or flip, separated by commas.")
    return layers
