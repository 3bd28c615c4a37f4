"""Whole small networks, trained, used, saved, loaded and resumed on a backend, compared with the NumPy backend."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import get_backend
from ..layers import (
    Affine,
    AveragePooling,
    BatchNorm,
    Convolution,
    Dropout,
    GlobalAveragePooling,
    Layer,
    MaxPooling,
    ReLU,
    Sigmoid,
)
from ..losses import Loss, SoftmaxCrossEntropy
from ..model import Sequential
from ..ops import Backend, HostArray, Ops
from ..optimizers import Adam, Optimizer
from ..training import Trainer
from ._arrays import mismatch, same_bits
from ._members import require

Outcome = dict[str, HostArray]
TOLERANCES = {"float32": 1e-4, "float64": 1e-10}
"""Thirty updates by Adam, whose division by the gradient's own size makes rounding grow."""
_BATCH = 10


def _data(dtype: str, pictures: bool = False) -> tuple[HostArray, HostArray]:
    """Make 98 rows of 6 numbers in three classes: nine batches of 10, which may be captured together, and one of 8."""
    r = np.random.default_rng(5)
    t = np.arange(98) % 3
    x = (r.normal(size=(98, 6)) + t[:, np.newaxis] * (np.arange(6) % 3 == 1)).astype(dtype)
    return x.reshape(-1, 1, 2, 3) if pictures else x, t


def _layers(pictures: bool) -> tuple[Layer, ...]:
    if not pictures:
        return Affine(12), BatchNorm(), ReLU(), Dropout(0.25), Affine(3)
    return (
        Convolution(5, 3, pad=2),
        BatchNorm(),
        ReLU(),
        MaxPooling(3, stride=1, pad=1),
        Dropout(0.25),
        Convolution(6, 2, stride=(1, 2)),
        Sigmoid(),
        AveragePooling(2, stride=1),
        GlobalAveragePooling(),
        Affine(3),
    )


def _trainer(backend: Backend, dtype: str, pictures: bool = False) -> Trainer:
    model = Sequential(*_layers(pictures))
    return Trainer(model, Adam(0.01), weight_decay=0.01, clip_norm=2.0, backend=backend, seed=7, dtype=dtype)


def _fit(trainer: Trainer, data: tuple[HostArray, HostArray], epochs: int, **options: Any) -> Trainer:
    trainer.fit(*data, epochs=epochs, batch_size=_BATCH, validation_data=data, verbose=False, **options)
    return trainer


def _outcome(trainer: Trainer, data: tuple[HostArray, HostArray]) -> Outcome:
    model = trainer.model
    return {
        **{f"the history's {name}": np.array(values) for name, values in trainer.history.items()},
        "predict": model.predict(data[0]),
        "evaluate": np.array(trainer.evaluate(*data)),
        "accuracy": np.array(model.accuracy(*data)),
        **{f"the parameter {name}": values for name, values in model.state_dict().items()},
    }


def trained(backend: Backend, dtype: str, pictures: bool = False) -> Outcome:
    """Train for three epochs on a backend; return history, predictions and parameters."""
    data = _data(dtype, pictures)
    return _outcome(_fit(_trainer(backend, dtype, pictures), data, 3), data)


@cache
def expected(dtype: str, pictures: bool = False) -> Outcome:
    """Return the same of the NumPy backend."""
    return trained(get_backend("numpy"), dtype, pictures)


def difference(got: Outcome, wanted: Outcome, tolerance: float) -> str | None:
    """Say where two outcomes differ by more than `tolerance`; None if they do not."""
    for name, values in wanted.items():
        problem = mismatch(got[name], values.astype(np.float64), tolerance)
        if problem is not None:
            return f"{name}: {problem}"
    return None


def _require_alike(got: Outcome, wanted: Outcome, dtype: str, where: str) -> None:
    problem = difference(got, wanted, TOLERANCES[dtype])
    require(problem is None, f"{where}: a training is not as on the numpy backend: {problem}")


def fit(ops: Ops, dtype: str, pictures: bool = False) -> None:
    """Check that `Trainer.fit`, `predict`, `evaluate` and `accuracy` do as on NumPy, and give the same bits twice."""
    where = f"training[{dtype}-{'pictures' if pictures else 'fit'}]"
    got = trained(ops.backend, dtype, pictures)
    require(got["predict"].dtype == np.dtype(dtype), f"{where}: predict gave {got['predict'].dtype}")
    _require_alike(got, expected(dtype, pictures), dtype, where)
    again = trained(ops.backend, dtype, pictures)
    differing = [name for name, values in got.items() if not same_bits(values, again[name])]
    require(not differing, f"{where}: two trainings of one seed differ in {', '.join(differing)}")


def of_pictures(ops: Ops, dtype: str) -> None:
    """Check the same of a network of convolutions and poolings."""
    fit(ops, dtype, pictures=True)


def step(ops: Ops, dtype: str) -> None:
    """Check `Trainer.step` on arrays of the backend and on NumPy's, against the NumPy backend."""
    x, t = data = _data(dtype)

    def steps(backend: Backend, native: bool) -> Outcome:
        trainer, losses = _trainer(backend, dtype), []
        for start in (0, 10, 90, 20):
            rows = x[start : start + _BATCH], t[start : start + _BATCH]
            loss = trainer.step(*(map(backend.to_device, rows) if native else rows))
            losses.append(float(backend.to_host(loss)))
        return {"the losses": np.array(losses), **_outcome(trainer, data)}

    where, wanted = f"training[{dtype}-step]", steps(get_backend("numpy"), native=False)
    _require_alike(steps(ops.backend, native=True), wanted, dtype, f"{where}, arrays of the backend")
    _require_alike(steps(ops.backend, native=False), wanted, dtype, f"{where}, NumPy's arrays")


def resume(ops: Ops, dtype: str) -> None:
    """Check that a training that was saved, loaded and continued ends with the same bits as one in a piece.

    Also checked is that the NumPy backend can load it.
    """
    where, whole, data = f"training[{dtype}-resume]", trained(ops.backend, dtype), _data(dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kit.safetensors")
        begun = _fit(_trainer(ops.backend, dtype), data, 2, checkpoint=path)
        loaded = Trainer.load(path, backend=ops.backend)
        for name, values in begun.model.state_dict().items():
            back = loaded.model.state_dict()[name]
            require(same_bits(values, back), f"{where}: {name} is not what was saved")
        elsewhere = Trainer.load(path, backend="numpy").model.predict(data[0])
        _require_alike({"predict": elsewhere}, {"predict": begun.model.predict(data[0])}, dtype, where)
        got = _outcome(_fit(loaded, data, 3), data)
    differing = [name for name, values in whole.items() if not same_bits(values, got[name])]
    require(not differing, f"{where}: a resumed training differs from one in a piece in {', '.join(differing)}")


def layers(ops: Ops, dtype: str) -> None:
    """Check layers, loss and optimizer standing alone, on arrays of the backend: `forward`, `backward`, `update`."""
    where = f"training[{dtype}-layers]"
    _require_alike(_alone(ops, dtype), _alone(Ops(get_backend("numpy")), dtype), dtype, where)


def _alone(ops: Ops, dtype: str) -> Outcome:
    x, t = _data(dtype)
    r = np.random.default_rng(6)
    host = {"W": r.normal(size=(6, 4)), "b": r.normal(size=4), "gamma": np.ones(4), "beta": np.zeros(4)}
    params = {name: ops.to_device(values.astype(dtype)) for name, values in host.items()}
    affine, norm = Affine(params["W"], params["b"]), BatchNorm(params["gamma"], params["beta"])
    parts: list[Layer] = [affine, norm, ReLU(), Dropout(0.25, seed=3)]
    loss, optimizer, losses = SoftmaxCrossEntropy(), Adam(0.01), []
    bound: list[Layer | Loss | Optimizer] = [*parts, loss, optimizer]
    for part in bound:
        part.bind(ops)
    for _ in range(3):
        y = ops.to_device(x)
        for layer in parts:
            y = layer.forward(y)
        losses.append(float(ops.to_host(loss.forward(y, ops.to_device(t)))))
        dout = loss.backward()
        for layer in reversed(parts):
            dout = layer.backward(dout)
        # The gradient of a bias below a normalization is rounding noise, which Adam would scale up to full steps.
        updated = {name: array for name, array in params.items() if name != "b"}
        optimizer.update(updated, {**affine.grads, **norm.grads})
    y = ops.to_device(x)
    for layer in parts:
        y = layer.forward(y, False)
    rest = {f"the parameter {name}": np.array(ops.to_host(array)) for name, array in updated.items()}
    return {"the losses": np.array(losses), "the output": np.array(ops.to_host(y)), **rest}


CHECKS = {"fit": fit, "pictures": of_pictures, "step": step, "resume": resume, "layers": layers}
