"""The trainer: one update on one batch, and whole trainings with history, checkpoints and clean interruption."""

import os
import textwrap
import warnings
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import losses, optimizers
from .. import model as models
from .._support import arrays as dlpack
from .._support.checks import (
    as_host,
    as_input,
    check_count,
    check_dtype,
    check_flag,
    check_number,
    check_path,
    check_seed,
)
from .._support.console import counted
from .._support.labels import Classes
from .._support.own import put_state, state_of
from .._support.pages import see
from ..backend import BackendLike, choose, environment
from ..datasets import as_disk, stays_on_disk
from ..errors import CheckpointError, InputError, InputTypeError, LossWarning
from ..layers import Sigmoid
from ..losses import Loss, SoftmaxCrossEntropy, as_loss
from ..model import Sequential
from ..ops import Array, HostArray
from ..optimizers import Adam, Optimizer, OwnOptimizer, as_optimizer
from ..parallel import Alone, Communicator, Shards, check_alike, gathered, on_first, share_of
from ..plan import ParallelPlan, Plan, TrainingStep, check_precision
from . import checkpoint as checkpoint_file
from ._device_data import DeviceData
from ._disk_data import DiskData, data_of
from ._evaluation import Evaluation, check_tells_accuracy, evaluate
from ._history import plot_history
from ._loop import FitLoop, FitState, interruption
from ._progress import Progress
from ._rows import Rows, names_of
from ._weights import held_out, row_weights
from .callbacks import EarlyStopping, check_callbacks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

History = dict[str, list[float]]

_PREDICTED = 256
"""Rows that a rank predicts, at least."""


class ResumeWarning(UserWarning):
    """A run is continued under conditions that may change the last bits of its numbers."""


class Trainer:
    """Trains a model with an optimizer and a loss.

    Args:
        model: built, or built at the first data.
        optimizer: an optimizer, any object with `update(params, grads)`, or a name such as "adam" for one with default
            settings; default `Adam()`.
        loss: a loss, any object with `forward` and `backward` as a loss has them, or a name such as "mse"; default
            `SoftmaxCrossEntropy()`.
        weight_decay: adds 0.5 * weight_decay * sum(W**2) to the loss and weight_decay * W to the gradient, of weights
            only (with `AdamW` decoupled, and not in the loss).
        clip_norm: gradients of a greater Euclidean norm are scaled down to it.
        backend: for building the model; a name or an instance, as for `get_backend`.
        seed: for building the model; it also draws the order of the rows and the dropout masks, alike on every backend.
        dtype: for building the model: "float32" (the default) or "float64".
        precision: "bfloat16" or "float16" rounds what goes into the products of `Affine` in the training step to 16
            bits, which GPUs multiply many times faster; convolutions, parameters, optimizer and everything else stay
            float32, and so do evaluation and prediction. Float16 scales the loss's gradient by a factor that adapts
            itself; a step whose gradients overflow is skipped. The CPU backends round in the same way, which is slower
            there, but shows whether a network tolerates it.
        parallel: the ranks that train together, such as `nnx.world()`. Each makes the same trainer and calls the same
            methods of it, and computes a part of each batch. Batches, masks, schedule and history are those of one
            process; rank 0 alone shows the progress and writes files. None: this process alone.
        shards: into how many parts of neighbouring rows a batch is divided, a multiple of the ranks. Each one's
            gradient is computed by itself, and they are added up in their order: so the bits are the same on any number
            of ranks that divides it, if all have as many threads. None: one for each rank.

    Raises:
        InputError: a setting is out of range or unknown, or does not fit the model as it was built.
        InputTypeError: model, optimizer or loss is of another type.
    """

    def __init__(
        self,
        model: Sequential,
        optimizer: "Optimizer | str | None" = None,
        loss: Loss | str | None = None,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        backend: BackendLike = None,
        seed: int = 0,
        dtype: str | None = None,
        precision: str = "float32",
        parallel: Communicator | None = None,
        shards: int | None = None,
    ) -> None:
        self.model: Sequential = _expect("model", model, Sequential)
        self.optimizer: Optimizer = (
            Adam() if optimizer is None else _named("optimizer", as_optimizer(optimizer), Optimizer)
        )
        self.loss: Loss = SoftmaxCrossEntropy() if loss is None else _named("loss", as_loss(loss), Loss)
        self.weight_decay = check_number("weight_decay", weight_decay, 0)
        self.clip_norm = None if clip_norm is None else check_number("clip_norm", clip_norm, 0, above=True)
        self.seed = check_seed(seed)
        self.dtype = None if dtype is None else check_dtype(dtype)
        self.precision = precision
        self.parallel: Communicator = Alone() if parallel is None else _expect("parallel", parallel, Communicator)
        """The ranks that train together."""
        self._shards_given = None if shards is None else check_count("shards", shards)
        self.shards = Shards.of(self.parallel, self._shards_given)
        """How batches are divided among them; None where one process computes whole batches."""
        self.backend = backend
        """What was asked for; the model has the one that it was built on."""
        self.optimizer.decay(self.weight_decay)  # raises if the optimizer has a different one of its own
        if model.built:
            self._check_built(backend)
        check_precision(precision, model.dtype if model.built else self.dtype or "float32")
        self.steps = 0
        """Updates so far."""
        self.epochs = 0
        """Whole epochs so far, over all calls of `fit`."""
        self.history: History = {}
        self.interrupted = False
        """Whether the last `fit` was ended by Ctrl-C."""
        self._plan: Plan | None = None
        self._batches: TrainingStep | None = None
        self._repeat: Callable[..., Array | None] | None = None
        """Does `step` on batches like the last one."""
        self._fit: FitState | None = None
        self._continue = False
        self._callback_states: list[dict[str, HostArray]] = []
        self._saved_environment: dict[str, str] = {}

    def _check_built(self, backend: BackendLike) -> None:
        if backend is not None and choose(backend).backend.name != self.model.backend.name:
            raise InputError(
                f"backend: got {backend!r}, but the model was built on {self.model.backend.name!r}; leave backend out, "
                "or give the trainer an unbuilt model."
            )
        if self.dtype not in (None, self.model.dtype):
            raise InputError(
                f"dtype: got {self.dtype}, but the model was built with {self.model.dtype}; leave dtype out."
            )

    def build(self, input_shape: Sequence[int]) -> None:
        """Build the model for inputs of (n, *input_shape), unless it is built.

        `step` and `fit` do this by themselves.
        """
        if not self.model.built:
            self.model.build(input_shape, backend=self.backend, seed=self.seed, dtype=self.dtype or "float32")
        if not len(self.model.params):
            raise InputError(f"{self.model!r} has no parameters to train.")
        self.model.loss = self.loss
        if self._plan is None:
            self._check_last_layer()
            parts = self.model.arena, self.model.stages, self.loss, self.optimizer
            if self.shards is None:
                self._plan = Plan(*parts, clip_norm=self.clip_norm, precision=self.precision)
            else:
                self._plan = ParallelPlan(
                    *parts, shards=self.shards, clip_norm=self.clip_norm, precision=self.precision
                )
            self._batches = TrainingStep(self._plan)

    def _check_last_layer(self) -> None:
        last = self.model.layers[-1]
        if self.loss.applies is not None and isinstance(last, Sigmoid):
            warnings.warn(
                f"the model ends with {last!r}, and {self.loss!r} applies the {self.loss.applies} itself: outputs are "
                "squashed twice, and probabilities near 0 and 1 cannot be reached. Leave the last layer out; "
                "predict_proba gives the probabilities. (For outputs between 0 and 1 as they are, take loss='mse'.)",
                LossWarning,
                stacklevel=4,  # the call of step or fit
            )

    @property
    def plan(self) -> Plan:
        """The fused training step. Raises before the model is built."""
        if self._plan is None:
            raise InputError("the trainer has no plan yet: call step, fit or build(input_shape) first.")
        return self._plan

    # One update -------------------------------------------------------------------------------------------------------

    def step(self, x: Any, t: Any) -> Array:
        """Update the parameters once, on one batch.

        If the loss is not finite, the update is skipped. Ranks that train together call it with the same batch.

        Args:
            x: (n, *input_shape), an array of any library.
            t: the targets, as the loss takes them. On the device they are taken unchecked, as int64 labels or in the
                model's dtype.

        Returns:
            The loss before the update, without weight decay's penalty, 0-d, on the device.

        Raises:
            InputError: shapes or labels do not fit the model and the loss.
        """
        if self._repeat is not None:
            optimizer, first = self.optimizer, self.steps
            numbers: tuple[Any, ...] = (optimizer.hyper(first, optimizer.decay(self.weight_decay)),)
            if self.plan.random:
                numbers += (self.plan.keys(self.seed, first),)
            loss = self._repeat(x, t, *numbers)
            if loss is not None:
                self.steps = first + 1
                return loss
        given = x, t
        if self._plan is None:
            x = x if dlpack.on_device(x) else as_host("x", x, self.model.columns)
            if len(x.shape) < 2 and not self.model.built:
                raise InputError(f"x: got shape {tuple(x.shape)}, expected (n, features) or (n, ...) rows.")
            if 0 in x.shape[:1]:
                raise InputError("x: got no rows, expected at least one.")
            self.build(tuple(x.shape[1:]))
        model = self.model
        x = model.checked_input("x", x)
        t = as_input(model.ops, "t", t)
        if isinstance(t, np.ndarray):
            t = self.loss.check_targets("t", t, model.output_shape, model.dtype)
        if t.shape[0] != x.shape[0]:
            raise InputError(f"t: got {t.shape[0]} rows for {x.shape[0]} rows of x; expected as many.")
        n = x.shape[0]
        if self.shards is not None:
            own = self.shards.rows(n)
            x, t = x[own, ...], t[own, ...]
        loss = self.advance(self.training_step, n, (x, t))
        if x is given[0] and t is given[1] and t.ndim == 1:
            self._repeat = self._repeats(x, t)
        return loss

    def _repeats(self, x: Array, t: Array) -> Callable[..., Array | None] | None:
        """Return what updates on batches of rows and labels like these without a check here, if the backend has it."""
        if type(self.loss).check_targets is not SoftmaxCrossEntropy.check_targets:
            return None  # it may refuse more than labels of no class
        (classes,) = self.model.output_shape
        return self.training_step.repeats(x, t, classes)

    @property
    def training_step(self) -> TrainingStep:
        """The update on a batch, as `step` runs it. Raises before the model is built."""
        return TrainingStep(self.plan) if self._batches is None else self._batches

    def advance(self, update: TrainingStep, n: int, batch: tuple[Any, ...], *, steps: int = 1) -> Array:
        """Run `steps` updates on n rows each, with their hyperparameters and random keys.

        Args:
            update: runs them.
            n: the rows of one update, on all ranks together.
            batch: as `update` takes it; of several ranks, this one's rows, `plan.own_rows(n)`.
            steps: how many.

        Returns:
            The losses, 0-d or (steps,), on the device.
        """
        plan, first, optimizer = self.plan, self.steps, self.optimizer
        self._repeat = None
        decay = optimizer.decay(self.weight_decay)
        if steps == 1:
            hyper = np.array(optimizer.hyper(first, decay), plan.host_dtype)
            rng = plan.keys(self.seed, first, n)
        else:
            every = range(first, first + steps)
            hyper = np.array([optimizer.hyper(step, decay) for step in every], plan.host_dtype)
            rng = np.array([plan.keys(self.seed, step, n) for step in every]) if plan.random else None
        loss = update(n, batch, hyper, rng, steps=steps)
        self.steps += steps
        return loss

    # Whole trainings --------------------------------------------------------------------------------------------------

    def fit(
        self,
        x_train: Any,
        t_train: Any = None,
        *,
        epochs: int = 10,
        batch_size: int = 100,
        validation_data: Any = None,
        validation_split: float | None = None,
        sample_weight: Any = None,
        class_weight: "Mapping[Any, float] | str | None" = None,
        shuffle: bool = True,
        check_finite: bool = True,
        callbacks: Sequence[Callable[..., Any]] = (),
        early_stopping: EarlyStopping | int | None = None,
        checkpoint: "str | os.PathLike[str] | None" = None,
        checkpoint_every: int | None = None,
        resume: bool = True,
        train_accuracy: bool | None = None,
        window: int | None = None,
        verbose: bool = True,
    ) -> History:
        """Train for `epochs` passes over the data, in batches drawn without replacement; the last may be smaller.

        A loaded or interrupted training is continued, bit for bit. Ctrl-C ends the training after a step, writes the
        checkpoint, if one is asked for, and returns.

        Args:
            x_train: (n, *input_shape), an array of any library, a table of columns of numbers and truth values (pandas,
                polars, ...), or a `Dataset`; uploaded once. `model.columns` keeps the columns' names: later tables may
                have them in any order. A memory map, a `DiskDataset` or another library's data set, of which x[i] is a
                pair of inputs and target, stays where it is, and is read a window at a time.
            t_train: the targets, as the loss takes them; or names of classes: text, categories, truth values, or a
                table with a column for each class. `model.classes` keeps the names. None for a data set.
            epochs: how many passes; a continued training counts them from its beginning.
            batch_size: the rows of a step.
            validation_data: a pair of arrays or tables, or a `Dataset`.
            validation_split: instead of validation_data, the share of the rows that is kept out of the training for
                validation, drawn by the trainer's seed.
            sample_weight: (n,), factors of the rows' losses.
            class_weight: factors by label, or its name, for a loss of classes: {label: factor} (1 for those left out)
                or "balanced", n / (classes * rows of the class).
            shuffle: whether each epoch draws a new order of the rows.
            check_finite: False trains on data with NaN or infinity.
            callbacks: called on the way, see `Callback`.
            early_stopping: an `EarlyStopping`, or its patience in epochs.
            checkpoint: a file that is written after every epoch and at the end.
            checkpoint_every: writes it after every so many steps, too.
            resume: False begins anew with the parameters as they are.
            train_accuracy: whether the history has "accuracy" (or "r2"), which takes a pass over the training data each
                epoch; default: unless they are read from the disk.
            window: of data that are read from the disk, how many rows are in memory at once and shuffled together;
                default as many as have 256 MiB. If it holds all rows, the training is that of data in memory.
            verbose: whether to show the progress.

        Returns:
            The history, one float an epoch: "loss" (mean over the epoch's rows, each before its step's update, with the
            rows' weights), "accuracy", "val_loss", "val_accuracy" (evaluated after the epoch, without dropout and
            weights), and with weight decay "penalty" (after the epoch), which is in none of the losses. For a loss of
            numbers "r2" and "val_r2" stand in place of the accuracies.

        Raises:
            CheckpointError: the checkpoint cannot be written.
            DivergedError: the loss is NaN or infinite; the message names step and layer. The history is kept.
            InputError: data or settings do not fit the model, the loss or the training to be continued.

        Warns:
            LossWarning: the model ends with a sigmoid, and the loss applies one, or the softmax, itself.
        """
        epochs, batch_size = check_count("epochs", epochs), check_count("batch_size", batch_size)
        shuffle, resume = check_flag("shuffle", shuffle), check_flag("resume", resume)
        check_finite, verbose = check_flag("check_finite", check_finite), check_flag("verbose", verbose)
        train_accuracy = None if train_accuracy is None else check_flag("train_accuracy", train_accuracy)
        window = None if window is None else check_count("window", window)
        stopping = _stopping(early_stopping)
        check_callbacks(callbacks)
        if checkpoint_every is not None:
            check_count("checkpoint_every", checkpoint_every)
            if checkpoint is None:
                raise InputError("checkpoint_every: got no file to write; pass checkpoint=PATH, too.")
        if checkpoint is not None:
            _check_writable(check_path("checkpoint", checkpoint))
        if validation_split is not None and validation_data is not None:
            raise InputError("validation_split: got validation_data as well; pass one of them.")
        given = _Given(x_train, t_train, validation_data, validation_split, sample_weight, class_weight)
        from_disk = stays_on_disk(x_train, t_train)
        if window is not None and not from_disk:
            raise InputError(
                f"window: got {window} for data in memory, which are shuffled as a whole; leave it out, or pass "
                "nnx.datasets.DiskDataset(x, t) to have them read as from a disk."
            )
        data: DeviceData | DiskData
        if from_disk:
            data, validation = self._on_disk(given, check_finite, window)
        else:
            data, validation = self._in_memory(given, check_finite)
        if train_accuracy is None:
            train_accuracy = not from_disk
        hooks: list[Callable[..., Any]] = [*callbacks, *stopping]
        fit = self._begin(data, epochs, batch_size, shuffle, resume)
        if self.parallel.size > 1:
            kinds = [getattr(hook, "__name__", type(hook).__name__) for hook in hooks]
            kept = {"callbacks": kinds, "checkpoint": checkpoint is not None, "checkpoint_every": checkpoint_every}
            check_alike(self.parallel, {**self._facts(data, validation), **kept, "train_accuracy": train_accuracy})
            hooks = [hook for hook in hooks if self.parallel.rank == 0 or getattr(hook, "every_rank", True)]
        self._restore_callbacks(hooks)

        progress = Progress(
            enabled=verbose and self.parallel.rank == 0,
            epochs=fit.epochs,
            first_epoch=self.epochs - fit.first_epoch,
            steps=-(-fit.rows // batch_size),
            rows=fit.rows,
        )
        with progress, interruption() as interrupted:
            progress.line(self.describe())
            if isinstance(data, DiskData):
                progress.line(data.described())
            done = self.epochs - fit.first_epoch
            begun, ended = done > 0 or fit.step > 0, done >= fit.epochs or fit.stopped
            if ended:
                how = "stopped early" if fit.stopped else "finished already"
                more = "resume=False begins anew" if fit.stopped else "to go on, ask for more epochs"
                progress.line(f"{how}, after {counted(done, 'epoch')}; {more}")
            elif begun:
                progress.line(f"continuing after epoch {done}, step {fit.step}")
            run = FitLoop(self, fit, data, validation, hooks, progress, checkpoint, checkpoint_every, train_accuracy)
            finished = False
            try:
                run.call("on_begin")
                finished = run.train(interrupted)
                self.interrupted = self._continue = not finished
                if finished and not ended:
                    run.say_what_was_learned()
            except BaseException:
                self._fit = None  # a new fit begins with a new epoch
                raise
            finally:
                run.call("on_end", finished)
        if checkpoint is not None:
            self.save(checkpoint)
        return self.history

    def plot(self) -> "Figure":
        """Draw the learning curves so far, see `plot_history`."""
        title = textwrap.shorten(f"{self.model!r}, {self.optimizer!r}", 180, placeholder=" …")
        return plot_history(self.history, textwrap.fill(title, 95))

    def describe(self) -> str:
        """Describe the backend in one line: name, why it was chosen, device, and how many operations are fused."""
        explanation = self.model.ops.explain()
        info = ", ".join(f"{name} {value}" for name, value in self.model.backend.device_info().items())
        counts = f"{counted(len(explanation.fused), 'operation')} fused, {len(explanation.composed)} composed"
        products = "" if self.precision == "float32" else f"; products in {self.precision}"
        if self.shards is not None:
            products += f"; {counted(self.parallel.size, 'rank')}, batches in {self.shards.count} shards"
        return f"backend {self.model.backend.name} ({self.model.why}): {info}; {counts}{products}"

    def _in_memory(self, given: "_Given", finite: bool) -> tuple[DeviceData, DeviceData | DiskData | None]:
        """Check and upload the data to train on and to validate on; build the model for them."""
        model, loss = self.model, self.loss
        rows = Rows.of(given.x, given.t, "x_train", "t_train", model.columns, model.classes)
        shape = tuple(rows.x.shape)
        if len(shape) < 2 or shape[0] == 0:
            raise InputError(f"x_train: got shape {shape}, expected (n, features) or (n, ...) with n > 0.")
        self.build(shape[1:])
        weight = row_weights(loss, model.output_shape, rows, given.sample_weight, given.class_weight)
        validation_data = given.validation_data
        if given.validation_split is not None:
            rows, weight, validation_data = held_out(model.ops, rows, weight, given.validation_split, self.seed)
        data = DeviceData(model, loss, rows, None, name="x_train", target="t_train", finite=finite, weight=weight)
        validation = self._validation(validation_data, rows.columns, rows.classes, finite)
        self._name(rows.columns, rows.classes)
        return data, validation

    def _on_disk(
        self, given: "_Given", finite: bool, window: int | None
    ) -> tuple[DiskData, DeviceData | DiskData | None]:
        """Check what stays on the disk; build the model for it."""
        model, loss = self.model, self.loss
        rows, validation_data = as_disk("x_train", "t_train", given.x, given.t), given.validation_data
        self.build(rows.shape)
        if given.validation_split is not None:
            if given.sample_weight is not None:
                raise InputError(
                    "validation_split: got sample_weight as well, which cannot be divided with rows on the disk; "
                    "divide both beforehand, the data by data.split, and pass validation_data."
                )
            share = check_number("validation_split", given.validation_split, 0, 1, above=True)
            rows, validation_data = rows.split(1 - share, share, seed=self.seed)
        weight = None
        if given.sample_weight is not None or given.class_weight is not None:
            t = np.broadcast_to(np.int64(0), len(rows)) if given.class_weight is None else rows.targets()
            named = Rows(None, t, 1.0, (), rows.classes)
            weight = row_weights(loss, model.output_shape, named, given.sample_weight, given.class_weight)
        data = DiskData(
            model, loss, rows, name="x_train", target="t_train", finite=finite, weight=weight, window=window
        )
        validation = self._validation(validation_data, (), names_of(rows.classes), finite)
        self._name((), names_of(rows.classes))
        return data, validation

    def _name(self, columns: tuple[str, ...], classes: Classes) -> None:
        self.model.columns = columns
        if self.loss.metric == "accuracy":
            self.model.classes = classes

    def _facts(self, data: DeviceData | DiskData, validation: DeviceData | DiskData | None) -> dict[str, Any]:
        """Return what has to be the same on all ranks, by names for people."""
        assert self._fit is not None
        fit, model, arrays = asdict(self._fit), self.model, self.model.state_dict()
        del fit["checksum"]  # known to who has saved or loaded
        return {
            "version of nnx": version("nnx-array"),
            "version of NumPy": np.__version__,
            "backend": model.backend.name,
            "network": repr(model),
            "dtype": model.dtype,
            "optimizer": repr(self.optimizer),
            "loss": repr(self.loss),
            "weight_decay": self.weight_decay,
            "clip_norm": self.clip_norm,
            "precision": self.precision,
            "seed": self.seed,
            "shards": None if self.shards is None else self.shards.count,
            **{name.replace("_", " ") if name != "batch_size" else name: value for name, value in fit.items()},
            "training data (checksum)": data.checksum(),
            "validation data (checksum)": None if validation is None else validation.checksum(),
            "steps done": self.steps,
            "parameters (checksum)": zlib.crc32(b"".join(arrays[name].tobytes() for name in arrays)),
        }

    def _validation(
        self, validation: Any, columns: tuple[str, ...], classes: Classes, finite: bool
    ) -> DeviceData | DiskData | None:
        if validation is None:
            return None
        x, t = validation, None
        if isinstance(validation, tuple | list):
            if len(validation) != 2:
                raise InputError(f"validation_data: got {len(validation)} parts, expected (x_val, t_val) or a Dataset.")
            x, t = validation
        if stays_on_disk(x, t):
            data = as_disk("x_val", "t_val", x, t)
            return DiskData(self.model, self.loss, data, name="x_val", target="t_val", finite=finite)
        if not isinstance(x, Rows):
            x = Rows.of(x, t, "x_val", "t_val", columns, classes)
        return DeviceData(self.model, self.loss, x, None, name="x_val", target="t_val", finite=finite)

    def _begin(
        self, data: DeviceData | DiskData, epochs: int, batch_size: int, shuffle: bool, resume: bool
    ) -> FitState:
        saved = self._fit
        if not (resume and self._continue and saved is not None):
            self._fit = FitState(
                len(data), batch_size, shuffle, self.epochs, epochs, window=data.window, blocks=data.blocks
            )
            self._continue = False
            return self._fit
        for name, was, now in (
            ("rows of x_train", saved.rows, len(data)),
            ("batch_size", saved.batch_size, batch_size),
            ("shuffle", saved.shuffle, shuffle),
            ("window", saved.window, data.window),
            ("blocks of rows that are read at once", saved.blocks, data.blocks),
        ):
            if was != now and (shuffle or name not in ("window", "blocks of rows that are read at once")):
                raise InputError(
                    f"{name}: got {now}, but the training to be continued had {was}; pass the same, or resume=False to "
                    "begin a new one with the parameters as they are."
                )
        notes = environment.differences(self._saved_environment, self._environment())
        if not self._saved_environment:
            notes = []
        if saved.checksum is not None and saved.checksum != data.checksum():
            notes.append("the training data are not the same")
        if notes and self.parallel.rank == 0:
            warnings.warn(
                "the continued training may differ in its last bits: " + "; ".join(notes), ResumeWarning, stacklevel=3
            )
        saved.epochs = epochs
        return saved

    def _environment(self) -> dict[str, str]:
        """Return what the bits depend on beside settings and data."""
        shards = {} if self.shards is None else {"shards": str(self.shards.count)}
        return {**environment.describe(self.model.backend), **shards}

    def _restore_callbacks(self, hooks: Sequence[Any]) -> None:
        with_state = [hook for hook in hooks if hasattr(hook, "load_state_dict")]
        if self._continue and self._callback_states:
            if len(with_state) != len(self._callback_states):
                raise InputError(
                    f"callbacks: got {len(with_state)} with a state, but the training to be continued had "
                    f"{len(self._callback_states)}; pass the same ones, or resume=False."
                )
            for hook, state in zip(with_state, self._callback_states, strict=True):
                hook.load_state_dict(state)
        self._with_state = with_state

    def predict(self, x: Any) -> HostArray:
        """Compute the model's output for x, a NumPy array (n, ...); see `Sequential.predict`.

        Ranks that train together call it together, and each computes a part of the rows; so also of the three below.
        """
        if self.shards is None:
            return self.model.predict(x)
        own = self.model.predict(x, lambda n: share_of(self.parallel, n, _PREDICTED))
        return gathered(self.parallel, own)

    def predict_proba(self, x: Any) -> HostArray:
        """Compute the probabilities that the output means under this trainer's loss, (n, c): softmax or sigmoid."""
        return self.loss.probabilities(self.predict(x))

    def predict_classes(self, x: Any) -> HostArray:
        """Predict the class of each row under this trainer's loss, by name; see `Sequential.predict_classes`."""
        return self.model.classes_of(self.predict(x), self.loss)

    def accuracy(self, x: Any, t: Any = None) -> float:
        """Return the share of rows that are right, as `evaluate` gives it.

        Args:
            x: as for `evaluate`.
            t: as for `evaluate`.

        Raises:
            InputError: the loss predicts numbers, not classes.
        """
        check_tells_accuracy(self.loss)
        return float(self.evaluate(x, t).score or 0.0)

    def evaluate(self, x: Any, t: Any = None) -> Evaluation:
        """Compute loss and score on data, without dropout.

        Ranks that train together call it together, and each computes a part of the rows.

        Args:
            x: (n, *input_shape), a table, a `Dataset`, or a `DeviceData` that is evaluated again and again.
            t: the targets, as the loss takes them, or labels by name; None for a `Dataset` and a `DeviceData`.

        Returns:
            (loss, score): the mean over the rows, without weight decay's penalty, and by the loss' `metric` the
            accuracy, R2 or None.

        Raises:
            InputError: the model is not built, or the data do not fit.
        """
        self.model.need_built("evaluate")
        self.build(self.model.input_shape)
        data = data_of(self.model, self.loss, x, t, name="x", target="t")
        return evaluate(self.model, self.loss, data, None if self.shards is None else self.parallel)

    def penalty(self) -> float:
        """Return weight decay's part of the minimised loss, 0.5 * weight_decay * sum(W**2); 0 where it is decoupled.

        Waits for the device.
        """
        decay = 0.0 if self.optimizer.decoupled else self.optimizer.decay(self.weight_decay)
        return 0.5 * decay * float(self.plan.ops.to_host(self.plan.sum_squares())) if decay else 0.0

    # Checkpoints ------------------------------------------------------------------------------------------------------

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write everything that the training depends on to a safetensors file, atomically.

        Ranks that train together call it together, and rank 0 writes; when it returns, the file is there.

        Raises:
            CheckpointError: the file cannot be written, or a function has no name that it could keep.
            InputError: the model is not built.
        """
        self.model.need_built("save")
        self.build(self.model.input_shape)
        to_host = self.plan.ops.to_host
        tensors = {f"model/{name}": array for name, array in self.model.state_dict().items()}
        for slot, arrays in self.plan.state_arrays().items():
            tensors |= {f"state/{slot}/{name}": np.array(to_host(array)) for name, array in arrays.items()}
        if isinstance(self.optimizer, OwnOptimizer):
            tensors |= {f"optimizer/{name}": array for name, array in state_of(self.optimizer.own, to_host).items()}
        if self.plan.scaling is not None:
            tensors["scaling"] = np.array(to_host(self.plan.scaling.state))
        for i, hook in enumerate(getattr(self, "_with_state", [])):
            tensors |= {f"callback/{i}/{name}": array for name, array in hook.state_dict().items()}
        meta = {
            "architecture": self.model.config(),
            "input_shape": list(self.model.input_shape),
            "dtype": self.model.dtype,
            "model_seed": self.model.seed,
            "seed": self.seed,
            "optimizer": self.optimizer.config(),
            "loss": self.loss.config(),
            "weight_decay": self.weight_decay,
            "clip_norm": self.clip_norm,
            "precision": self.precision,
            "steps": self.steps,
            "epochs": self.epochs,
            "history": self.history,
            "fit": None if self._fit is None else asdict(self._fit),
            "environment": self._environment(),
            "shards": self._shards_given,
            "columns": self.model.columns,
            "classes": self.model.classes,
        }
        on_first(self.parallel, lambda: checkpoint_file.write(path, tensors, meta))

    @classmethod
    def load(
        cls,
        path: "str | os.PathLike[str]",
        *,
        backend: BackendLike = None,
        model: Sequential | None = None,
        optimizer: Optimizer | None = None,
        loss: Loss | None = None,
        parallel: Communicator | None = None,
        shards: int | None = None,
    ) -> "Trainer":
        """Make the trainer that `save` wrote, on any backend. A `fit` with the same data then continues bit for bit.

        Args:
            path: the file.
            backend: as for `Trainer`; the one of the saved run does not matter.
            model: unbuilt, as it was; only for classes of your own that are not known by `nnx.register`.
            optimizer: likewise.
            loss: likewise.
            parallel: as for `Trainer`; the number of ranks of the saved run does not matter.
            shards: as for `Trainer`; None: as many as the saved run was given, if they can be divided among the ranks.

        Raises:
            CheckpointError: the file is damaged, or does not describe a training that can be rebuilt.
        """
        tensors, meta = checkpoint_file.read(path)
        ranks, saved = 1 if parallel is None else parallel.size, meta.get("shards")  # files of before have none
        if shards is None and saved is not None and saved % ranks == 0:
            shards = saved
        elif parallel is not None:
            Shards.of(parallel, shards)  # raises for what can never be, before it seems to be the file's fault
        try:
            trainer = cls(
                models.from_config(meta["architecture"]) if model is None else model,
                optimizers.from_config(meta["optimizer"]) if optimizer is None else optimizer,
                losses.from_config(meta["loss"]) if loss is None else loss,
                weight_decay=meta["weight_decay"],
                clip_norm=meta["clip_norm"],
                backend=backend,
                seed=meta["seed"],
                dtype=meta["dtype"],
                precision=meta["precision"],
                parallel=parallel,
                shards=shards,
            )
            trainer.build(meta["input_shape"])
            trainer.model.seed = meta["model_seed"]
            trainer._take(tensors, meta)
        except (KeyError, TypeError, InputError) as error:
            hint = "; layers of your own need nnx.register(Class) beforehand (nnx --import FILE), or model="
            raise CheckpointError(
                f"{path}: does not describe a training that can be rebuilt ({error}){hint * (model is None)}. "
                f"{see('extending')}"
            ) from error
        return trainer

    def _take(self, tensors: dict[str, HostArray], meta: dict[str, Any]) -> None:
        def part(prefix: str) -> dict[str, HostArray]:
            return {name.removeprefix(prefix): a for name, a in tensors.items() if name.startswith(prefix)}

        self.model.load_state_dict(part("model/"))
        names = list(self.plan.arena.params)
        slots = {slot: part(f"state/{slot}/") for slot in self.plan.state}
        self.plan.put_state({slot: {name: np.array(saved[name]) for name in names} for slot, saved in slots.items()})
        if isinstance(self.optimizer, OwnOptimizer):
            put_state(self.optimizer.own, part("optimizer/"), self.plan.ops.to_device)
        if self.plan.scaling is not None:
            self.plan.scaling.state[...] = self.plan.ops.to_device(np.array(tensors["scaling"]))
        self.steps, self.epochs = meta["steps"], meta["epochs"]
        self.history = {name: list(values) for name, values in meta["history"].items()}
        self._fit = None if meta["fit"] is None else FitState(**meta["fit"])
        self._continue = self._fit is not None
        count = len({name.split("/")[1] for name in tensors if name.startswith("callback/")})
        self._callback_states = [part(f"callback/{i}/") for i in range(count)]
        self._saved_environment = meta["environment"]
        self.model.columns = tuple(meta.get("columns", ()))  # files of before have no names
        self.model.classes = tuple(meta.get("classes", ()))

    def __getstate__(self) -> dict[str, Any]:
        raise InputTypeError(
            "a Trainer cannot be copied or pickled: write it by trainer.save(path) and read it by "
            "nnx.Trainer.load(path); copy.deepcopy(trainer.model) copies the network."
        )

    def __repr__(self) -> str:
        return f"Trainer({self.model!r}, {self.optimizer!r}, {self.loss!r}, steps={self.steps})"


class _Given(NamedTuple):
    """What `fit` was given to train on and to validate on."""

    x: Any
    t: Any
    validation_data: Any
    validation_split: float | None
    sample_weight: Any
    class_weight: "Mapping[Any, float] | str | None"


def _named(name: str, value: Any, kind: "type[Optimizer] | type[Loss]") -> Any:
    """Return a part, or the one of that name."""
    if isinstance(value, str):
        return optimizers.optimizer(value) if kind is Optimizer else losses.loss(value)
    return _expect(name, value, kind)


def _stopping(value: Any) -> list[EarlyStopping]:
    if value is None:
        return []
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return [EarlyStopping(patience=check_count("early_stopping", value))]
    return [_expect("early_stopping", value, EarlyStopping)]


def _expect(name: str, value: Any, kind: type) -> Any:
    if isinstance(value, kind):
        return value
    hint = f"; write {value.__name__}()" if isinstance(value, type) and issubclass(value, kind) else ""
    raise InputTypeError(f"{name}: got {value!r}, expected an nnx.{kind.__name__}{hint}.")


def _check_writable(path: Path) -> None:
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK) or path.is_dir():
        raise CheckpointError(f"{path}: cannot be written; expected a file in a folder that exists and is writable.")
