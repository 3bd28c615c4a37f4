"""Whole trainings: the trainer, its loop, data on the device, evaluation, callbacks, and the files that they write."""

from ._device_data import DeviceData
from ._disk_data import DiskData, OrderWarning, data_of
from ._evaluation import Evaluation, check_tells_accuracy, evaluate
from ._history import plot_history
from ._loop import interruption
from ._order import Order, Window
from ._pictures import Pictures, read_pictures
from ._run_folder import MODELS, OF_TABLES, RUNS, SCHEDULES, RunConfig, RunData, RunFolder, next_free, read_settings
from ._trainer import History, ResumeWarning, Trainer
from .callbacks import Callback, EarlyStopping, ReduceOnPlateau
from .loggers import CSVLogger, TensorBoard

__all__ = [
    "MODELS",
    "OF_TABLES",
    "RUNS",
    "SCHEDULES",
    "CSVLogger",
    "Callback",
    "DeviceData",
    "DiskData",
    "EarlyStopping",
    "Evaluation",
    "History",
    "Order",
    "OrderWarning",
    "Pictures",
    "ReduceOnPlateau",
    "ResumeWarning",
    "RunConfig",
    "RunData",
    "RunFolder",
    "TensorBoard",
    "Trainer",
    "Window",
    "check_tells_accuracy",
    "data_of",
    "evaluate",
    "interruption",
    "next_free",
    "plot_history",
    "read_pictures",
    "read_settings",
]
