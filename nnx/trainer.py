"""The trainer: one update on one batch, and whole trainings with history, checkpoints and clean interruption."""

import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from . import checkpoint as checkpoint_file
from . import dlpack, environment, losses, optimizers
from . import model as models
from .backend import Array, HostArray
from .callbacks import Callback, EarlyStopping
from .checks import as_host, as_input, check_count, check_dtype, check_flag, check_number, check_path, check_seed
from .datasets import Dataset
from .device_data import DeviceData, as_arrays
from .errors import CheckpointError, InputError, InputTypeError
from .fit import FitLoop, FitState, interruption
from .losses import Loss, SoftmaxCrossEntropy, as_loss
from .model import Sequential
from .optimizers import Adam, Optimizer, as_optimizer
from .plan import Plan, infer
from .precision import check_precision
from .progress import Progress
from .registry import BackendLike, choose

_EVALUATE = 1024  # rows evaluated at once

History = dict[str, list[float]]


class ResumeWarning(UserWarning):
    """A run is continued under conditions that may change its bits."""


class Trainer:
    """Trains a model with an optimizer and a loss.

    optimizer: default `Adam()`. loss: default `SoftmaxCrossEntropy()`. weight_decay: adds 0.5 * weight_decay *
    sum(W**2) to the loss and weight_decay * W to the gradient, of weights only (with `AdamW` decoupled, and not in the
    loss). clip_norm: gradients of a greater Euclidean norm are scaled down to it. backend, dtype, seed: for building
    the model; the seed also draws the order of the rows and the dropout masks, alike on every backend.

    precision: "bfloat16" or "float16" rounds what goes into matrix products of the training step to 16 bits, which GPUs
    multiply many times faster; parameters, optimizer and everything else stay float32, and so do evaluation and
    prediction. Float16 scales the loss's gradient by a factor that adapts itself; a step whose gradients overflow is
    skipped. The CPU backends only round alike, which shows whether a network bears it, and is slower.
    """

    def __init__(
        self,
        model: Sequential,
        optimizer: "Optimizer | None" = None,
        loss: Loss | None = None,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        backend: BackendLike = None,
        seed: int = 0,
        dtype: str | None = None,
        precision: str = "float32",
    ) -> None:
        self.model = _expect("model", model, Sequential)
        self.optimizer: Optimizer = (
            Adam() if optimizer is None else _expect("optimizer", as_optimizer(optimizer), Optimizer)
        )
        self.loss: Loss = SoftmaxCrossEntropy() if loss is None else _expect("loss", as_loss(loss), Loss)
        self.weight_decay = check_number("weight_decay", weight_decay, 0)
        self.clip_norm = None if clip_norm is None else check_number("clip_norm", clip_norm, 0, above=True)
        self.seed = check_seed(seed)
        self.dtype = None if dtype is None else check_dtype(dtype)
        self.precision = precision
        self._backend = backend
        self._check_decay()
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
        self._fit: FitState | None = None
        self._continue = False
        self._callback_states: list[dict[str, HostArray]] = []
        self._saved_environment: dict[str, str] = {}

    def _check_decay(self) -> None:
        own = getattr(self.optimizer, "weight_decay", None)
        if own is not None and self.weight_decay > 0 and own != self.weight_decay:
            raise InputError(
                f"weight_decay: the trainer got {self.weight_decay} and {self.optimizer!r} another; "
                "give it to one of them."
            )

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
        """Build the model, if it is not built, for inputs of (n, *input_shape). `step` and `fit` do it by
        themselves."""
        if not self.model.built:
            self.model.build(input_shape, backend=self._backend, seed=self.seed, dtype=self.dtype or "float32")
        if not len(self.model.params):
            raise InputError(f"{self.model!r} has no parameters to train.")
        if self._plan is None:
            self._plan = Plan(
                self.model.arena,
                self.model.stages,
                self.loss,
                self.optimizer,
                weight_decay=self._decay,
                clip_norm=self.clip_norm,
                precision=self.precision,
            )

    @property
    def _decay(self) -> float:
        if self.weight_decay > 0 or not self.optimizer.decoupled:
            return self.weight_decay
        own = getattr(self.optimizer, "weight_decay", 0.0)
        return optimizers.AdamW.DEFAULT_DECAY if own is None else float(own)

    @property
    def plan(self) -> Plan:
        """The fused training step. Raises before the model is built."""
        if self._plan is None:
            raise InputError("the trainer has no plan yet: call step, fit or build(input_shape) first.")
        return self._plan

    # One update -------------------------------------------------------------------------------------------------------

    def step(self, x: Any, t: Any) -> Array:
        """One update on one batch. x: (n, *input_shape); t: as the loss takes it. Returns the loss, 0-d, on the device.

        Both may be arrays of any library. On the device t is taken unchecked, as int64 labels or in the model's dtype.
        The loss includes weight decay's penalty. If it is not finite, the update is skipped.
        """
        if self._plan is None:
            x = x if dlpack.on_device(x) else as_host("x", x)
            if len(x.shape) < 2 and not self.model.built:
                raise InputError(f"x: got shape {tuple(x.shape)}, expected (n, features) or (n, ...) rows.")
            if 0 in x.shape[:1]:
                raise InputError("x: got no rows, expected at least one.")
            self.build(tuple(x.shape[1:]))
        model = self.model
        x = model.native_input("x", x)
        t = as_input(model.ops, "t", t)
        if isinstance(t, np.ndarray):
            t = self.loss.check_targets("t", t, model.output_shape, model.dtype)
        if t.shape[0] != x.shape[0]:
            raise InputError(f"t: got {t.shape[0]} rows for {x.shape[0]} rows of x; expected as many.")
        t = model.ops.to_device(t) if isinstance(t, np.ndarray) else t
        return self._update(self.plan.program(x.shape[0]).run, x, t)

    def _update(self, run: Callable[..., Array], *inputs: Array) -> Array:
        """One update by a captured step, which takes the step's numbers after the inputs, from the host."""
        numbers = [np.array(self.optimizer.hyper(self.steps, self._decay), self.model.dtype)]
        if self.plan.dropouts:
            numbers.append(np.stack([layer.random_key(self.seed, self.steps) for layer in self.plan.dropouts]))
        # A loss that overflows is reported by fit, with the layer; NumPy's own warnings would only precede that.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            loss = run(*inputs, *numbers)
        self.steps += 1
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
        shuffle: bool = True,
        check_finite: bool = True,
        callbacks: Sequence[Callback] = (),
        early_stopping: EarlyStopping | None = None,
        checkpoint: "str | os.PathLike[str] | None" = None,
        checkpoint_every: int | None = None,
        resume: bool = True,
        train_accuracy: bool = True,
        verbose: bool = True,
    ) -> History:
        """Train for `epochs` passes over the data, in batches drawn without replacement; the last may be smaller.

        x_train, t_train: arrays of n rows, of any library, or one `Dataset`; uploaded once. validation_data: a pair of
        arrays or a `Dataset`. check_finite=False trains on data with NaN or infinity. checkpoint: a file written after
        every epoch, and after every `checkpoint_every` steps; Ctrl-C writes it, too, and returns. A loaded or
        interrupted training is continued, bit for bit, and `epochs` then counts from its beginning; resume=False begins
        anew with the parameters as they are. train_accuracy=False leaves "accuracy" out, which takes a pass over the
        training data an epoch.

        Returns the history: "loss" (mean over the epoch's steps, weight decay's penalty included), "accuracy",
        "val_loss", "val_accuracy" (evaluated after the epoch, without dropout; accuracies for classifiers only), one
        float an epoch.

        Raises `DivergedError` with the step and the layer when the loss is NaN or infinite; the history is kept.
        """
        epochs, batch_size = check_count("epochs", epochs), check_count("batch_size", batch_size)
        shuffle, resume = check_flag("shuffle", shuffle), check_flag("resume", resume)
        check_finite, verbose = check_flag("check_finite", check_finite), check_flag("verbose", verbose)
        train_accuracy = check_flag("train_accuracy", train_accuracy)
        if early_stopping is not None:
            _expect("early_stopping", early_stopping, EarlyStopping)
        given: Any = callbacks
        if isinstance(given, str) or not isinstance(given, Sequence) or not all(map(callable, given)):
            raise InputTypeError(f"callbacks: got {callbacks!r}, expected a list of callables such as [callback].")
        if checkpoint_every is not None:
            check_count("checkpoint_every", checkpoint_every)
            if checkpoint is None:
                raise InputError("checkpoint_every: got no file to write; pass checkpoint=PATH, too.")
        if checkpoint is not None:
            _check_writable(check_path("checkpoint", checkpoint))
        inputs, targets, _ = as_arrays(x_train, t_train, "x_train", "t_train")
        if len(inputs.shape) < 2 or inputs.shape[0] == 0:
            raise InputError(
                f"x_train: got shape {tuple(inputs.shape)}, expected (n, features) or (n, ...) with n > 0."
            )
        self.build(tuple(inputs.shape[1:]))
        if not isinstance(x_train, Dataset):
            x_train, t_train = inputs, targets
        data = DeviceData(
            self.model, self.loss, x_train, t_train, name="x_train", target="t_train", finite=check_finite
        )
        validation = self._validation(validation_data, check_finite)
        hooks: list[Callback] = [*callbacks, *([early_stopping] if early_stopping else [])]
        fit = self._begin(data, epochs, batch_size, shuffle, resume)
        self._restore_callbacks(hooks)

        progress = Progress(
            enabled=verbose,
            epochs=fit.epochs,
            first_epoch=self.epochs - fit.first_epoch,
            steps=-(-fit.rows // batch_size),
            rows=fit.rows,
        )
        with progress, interruption() as interrupted:
            progress.line(self.describe())
            if self.epochs > fit.first_epoch or fit.step:
                progress.line(f"continuing after epoch {self.epochs - fit.first_epoch}, step {fit.step}")
            run = FitLoop(self, fit, data, validation, hooks, progress, checkpoint, checkpoint_every, train_accuracy)
            try:
                finished = run.train(interrupted)
            except BaseException:
                self._fit = None  # a new fit begins with a new epoch
                raise
        self.interrupted = self._continue = not finished
        if finished:
            for hook in hooks:
                if isinstance(hook, EarlyStopping):
                    hook.finish(self)
        if checkpoint is not None:
            self.save(checkpoint)
        return self.history

    def describe(self) -> str:
        """One line: the backend, why it runs, its device, and how many operations it fuses."""
        explanation = self.model.ops.explain()
        info = ", ".join(f"{name} {value}" for name, value in self.model.backend.device_info().items())
        counts = f"{len(explanation.fused)} operations fused, {len(explanation.composed)} composed"
        products = "" if self.precision == "float32" else f"; products in {self.precision}"
        return f"backend {self.model.backend.name} ({self.model.why}): {info}; {counts}{products}"

    def _validation(self, validation: Any, finite: bool) -> DeviceData | None:
        if validation is None:
            return None
        if isinstance(validation, tuple | list):
            if len(validation) != 2:
                raise InputError(f"validation_data: got {len(validation)} parts, expected (x_val, t_val) or a Dataset.")
            x, t = validation
        else:
            x, t = validation, None
        return DeviceData(self.model, self.loss, x, t, name="x_val", target="t_val", finite=finite)

    def _begin(self, data: DeviceData, epochs: int, batch_size: int, shuffle: bool, resume: bool) -> FitState:
        saved = self._fit
        if not (resume and self._continue and saved is not None):
            self._fit = FitState(len(data), batch_size, shuffle, self.epochs, epochs)
            self._continue = False
            return self._fit
        for name, was, now in (
            ("rows of x_train", saved.rows, len(data)),
            ("batch_size", saved.batch_size, batch_size),
            ("shuffle", saved.shuffle, shuffle),
        ):
            if was != now:
                raise InputError(
                    f"{name}: got {now}, but the training to be continued had {was}; pass the same, or resume=False to "
                    "begin a new one with the parameters as they are."
                )
        notes = environment.differences(self._saved_environment, environment.describe(self.model.backend))
        if not self._saved_environment:
            notes = []
        if saved.checksum is not None and saved.checksum != data.checksum():
            notes.append("the training data are not the same")
        if notes:
            warnings.warn(
                "the continued training may differ in its last bits: " + "; ".join(notes), ResumeWarning, stacklevel=3
            )
        saved.epochs = epochs
        return saved

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

    def evaluate(self, x: Any, t: Any = None) -> tuple[float, float | None]:
        """The loss, penalty included, and the accuracy (None for a loss without classes) on data, without dropout."""
        self.model._need("evaluate")
        self.build(self.model.input_shape)
        return self._evaluate(DeviceData(self.model, self.loss, x, t, name="x", target="t"))

    def _evaluate(self, data: DeviceData) -> tuple[float, float | None]:
        plan, n = self.plan, len(data)
        ops = plan.ops
        value = self.loss.bound(ops, self.model.dtype)
        sums, correct = [], []
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, n, _EVALUATE):
                index = np.arange(start, min(start + _EVALUATE, n))
                x, t = data.gather(ops.to_device(index))
                z = infer(ops, plan.stages, x)
                sums.append((value(z, t), len(index)))
                if self.loss.classifies:
                    correct.append(ops.count_correct(z, t))
        total = sum(float(ops.to_host(loss)) * rows for loss, rows in sums) / n
        zero = ops.to_device(np.array(0, self.model.dtype))
        total += float(ops.to_host(plan.penalty(zero)))
        return total, sum(int(ops.to_host(c)) for c in correct) / n if self.loss.classifies else None

    # Checkpoints ------------------------------------------------------------------------------------------------------

    def save(self, path: "str | os.PathLike[str]") -> None:
        """Write everything that the training depends on to a safetensors file, atomically."""
        self.model._need("save")
        self.build(self.model.input_shape)
        to_host = self.plan.ops.to_host
        tensors = {f"model/{name}": array for name, array in self.model.state_dict().items()}
        for slot, views in self.plan.state.items():
            tensors |= {f"state/{slot}/{name}": np.array(to_host(array)) for name, array in views.items()}
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
            "environment": environment.describe(self.model.backend),
        }
        checkpoint_file.write(path, tensors, meta)

    @classmethod
    def load(
        cls,
        path: "str | os.PathLike[str]",
        *,
        backend: BackendLike = None,
        model: Sequential | None = None,
        optimizer: Optimizer | None = None,
        loss: Loss | None = None,
    ) -> "Trainer":
        """The trainer that `save` wrote, on any backend. A `fit` with the same data then continues bit for bit.

        model, optimizer, loss: only for classes of your own, which a file cannot name; unbuilt, as they were.
        """
        tensors, meta = checkpoint_file.read(path)
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
            )
            trainer.build(meta["input_shape"])
            trainer.model.seed = meta["model_seed"]
            trainer._take(tensors, meta)
        except (KeyError, TypeError, InputError) as error:
            hint = "" if model is not None else "; layers of your own need model="
            raise CheckpointError(
                f"{path}: does not describe a training that can be rebuilt ({error}){hint}."
            ) from error
        return trainer

    def _take(self, tensors: dict[str, HostArray], meta: dict[str, Any]) -> None:
        def part(prefix: str) -> dict[str, HostArray]:
            return {name.removeprefix(prefix): a for name, a in tensors.items() if name.startswith(prefix)}

        self.model.load_state_dict(part("model/"))
        for slot, views in self.plan.state.items():
            saved = part(f"state/{slot}/")
            for name, view in views.items():
                view[...] = self.plan.ops.to_device(np.array(saved[name]))
        if self.plan.scaling is not None:
            self.plan.scaling.state[...] = self.plan.ops.to_device(np.array(tensors["scaling"]))
        self.steps, self.epochs = meta["steps"], meta["epochs"]
        self.history = {name: list(values) for name, values in meta["history"].items()}
        self._fit = None if meta["fit"] is None else FitState(**meta["fit"])
        self._continue = self._fit is not None
        count = len({name.split("/")[1] for name in tensors if name.startswith("callback/")})
        self._callback_states = [part(f"callback/{i}/") for i in range(count)]
        self._saved_environment = meta["environment"]

    def __repr__(self) -> str:
        return f"Trainer({self.model!r}, {self.optimizer!r}, {self.loss!r}, steps={self.steps})"


def _expect(name: str, value: Any, kind: type) -> Any:
    if isinstance(value, kind):
        return value
    hint = f"; write {value.__name__}()" if isinstance(value, type) and issubclass(value, kind) else ""
    raise InputTypeError(f"{name}: got {value!r}, expected an nnx.{kind.__name__}{hint}.")


def _check_writable(path: Path) -> None:
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK) or path.is_dir():
        raise CheckpointError(f"{path}: cannot be written; expected a file in a folder that exists and is writable.")
