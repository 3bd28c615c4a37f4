"""Callbacks that write a training's history for other programs: CSV, and TensorBoard's event files."""

import csv
import os
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support.checks import check_flag, check_path
from .._support.files import make_folder
from .._support.result import write_csv
from ..errors import InputError
from .callbacks import Callback

if TYPE_CHECKING:
    from ._trainer import Trainer

_BINS = 50


class CSVLogger(Callback):
    """Writes a row for each epoch: its number and the entries of the history, in full precision.

    The file is whole after every epoch, whatever happens meanwhile. A training that goes on, in this process or in
    another, continues the file: a row of an epoch that is trained again is replaced. A new training (epoch 1) begins
    the file anew.

    Args:
        path: the file, in a folder that exists.

    Raises:
        InputError: at once, if the file is no such table or its folder does not exist.
    """

    every_rank = False

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        self.path = check_path("path", path)
        if not self.path.parent.is_dir() or self.path.is_dir():
            raise InputError(f"{self.path}: cannot be written; expected a file in a folder that exists.")
        self._rows = self._read()

    def __call__(self, trainer: "Trainer", epoch: int, logs: dict[str, float]) -> None:
        self._rows = {number: row for number, row in self._rows.items() if number < epoch}
        self._rows[epoch] = {"epoch": str(epoch), **{name: repr(float(value)) for name, value in logs.items()}}
        columns = list(dict.fromkeys(name for row in self._rows.values() for name in row))
        write_csv(self.path, columns, ([row.get(name, "") for name in columns] for row in self._rows.values()))

    def _read(self) -> dict[int, dict[str, str]]:
        if not self.path.exists():
            return {}
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file, strict=True)
                if reader.fieldnames and "epoch" not in reader.fieldnames:
                    raise ValueError("there is no column epoch")
                return {int(row["epoch"]): {name: value for name, value in row.items() if value} for row in reader}
        except (OSError, ValueError, TypeError, csv.Error) as error:
            raise InputError(
                f"{self.path}: exists and is no table of epochs ({error!r}), which is not written over; "
                "pass another path."
            ) from None


class TensorBoard(Callback):
    """Writes loss, accuracy or R2, and learning rate of every epoch for `tensorboard --logdir FOLDER`, by tensorboardX.

    The tags are loss/train, loss/validation, accuracy/train, accuracy/validation (or r2/...), other entries of the
    history under their own names, and learning_rate (of the epoch's last step); the step is the epoch. A training that
    goes on continues the curves: entries of epochs that are trained again are replaced.

    Args:
        folder: where to write, made if it does not exist.
        histograms: whether to add the values of every parameter, as parameters/NAME.

    Raises:
        InputError: at once, if tensorboardX is missing or the folder cannot be made.
    """

    every_rank = False

    def __init__(self, folder: "str | os.PathLike[str]", *, histograms: bool = False) -> None:
        self.folder, self.histograms = check_path("folder", folder), check_flag("histograms", histograms)
        if find_spec("tensorboardX") is None:
            raise InputError("TensorBoard: needs tensorboardX; pip install 'nnx-array[tensorboard]'.")
        make_folder(self.folder)
        self._writer: Any = None

    def __call__(self, trainer: "Trainer", epoch: int, logs: dict[str, float]) -> None:
        from tensorboardX import summary
        from tensorboardX.proto.event_pb2 import Event

        if self._writer is None:
            self._writer = self._open(epoch)
        found = [summary.scalar(_tag(name), value) for name, value in logs.items()]
        found.append(summary.scalar("learning_rate", trainer.optimizer.rate(trainer.steps - 1)))
        if self.histograms:
            to_host = trainer.model.ops.to_host
            found += [
                summary.histogram(f"parameters/{name}", np.array(to_host(array)), bins=_BINS)
                for name, array in trainer.model.params.items()
            ]
        for one in found:
            self._writer.write_event(Event(wall_time=time.time(), step=epoch, summary=one))
        self._writer.flush()

    def _open(self, epoch: int) -> Any:
        """Open a new event file.

        tensorboardX's SummaryWriter would write it in a thread, which the end of the process cuts off.
        """
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        # Files are named by the second; the suffix keeps two of one second apart, and in their order.
        count = len(list(self.folder.glob("events.out.tfevents.*")))
        writer = EventsWriter(str(self.folder / "events"), f".{count}")
        if epoch > 1:
            start = SessionLog(status=SessionLog.START)
            writer.write_event(Event(wall_time=time.time(), step=epoch, session_log=start))
        return writer

    def on_end(self, trainer: "Trainer", finished: bool) -> None:
        self.close()

    def close(self) -> None:
        """Close the event file, which is whole after every epoch even without this; a next epoch begins another."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _tag(name: str) -> str:
    quantity = name.removeprefix("val_")
    if quantity not in ("loss", "accuracy", "r2"):
        return name
    return f"{quantity}/{'validation' if name != quantity else 'train'}"
