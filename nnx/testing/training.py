"""A whole small network, trained, used, saved, loaded and resumed on a backend, compared with the NumPy backend."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import get_backend
from ..layers import Affine, BatchNorm, Dropout, Layer, ReLU
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


def _data(dtype: str) -> tuple[HostArray, HostArray]:
    """Make 98 rows of 6 numbers in three classes: nine batches of 10, which may be captured together, and one of 8."""
    r = np.random.default_rng(5)
    t = np.arange(98) % 3
    return (r.normal(size=(98, 6)) + t[:, np.newaxis] * (np.arange(6) % 3 == 1)).astype(dtype), t


def _trainer(backend: Backend, dtype: str) -> Trainer:
    layers = Affine(12), BatchNorm(), ReLU(), Dropout(0.25), Affine(3)
    return Trainer(
        Sequential(*layers), Adam(0.01), weight_decay=0.01, clip_norm=2.0, backend=backend, seed=7, dtype=dtype
    )


def _fit(trainer: Trainer, dtype: str, epochs: int, **options: Any) -> Trainer:
    x, t = _data(dtype)
    trainer.fit(x, t, epochs=epochs, batch_size=_BATCH, validation_data=(x, t), verbose=False, **options)
    return trainer


def _outcome(trainer: Trainer, dtype: str) -> Outcome:
    x, t = _data(dtype)
    model = trainer.model
    return {
        **{f"the history's {name}": np.array(values) for name, values in trainer.history.items()},
        "predict": model.predict(x),
        "evaluate": np.array(trainer.evaluate(x, t)),
        "accuracy": np.array(model.accuracy(x, t)),
        **{f"the parameter {name}": values for name, values in model.state_dict().items()},
    }


def trained(backend: Backend, dtype: str) -> Outcome:
    """Train for three epochs on a backend; return history, predictions and parameters."""
    return _outcome(_fit(_trainer(backend, dtype), dtype, 3), dtype)


@cache
def expected(dtype: str) -> Outcome:
    """Return the same of the NumPy backend."""
    return trained(get_backend("numpy"), dtype)


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


def fit(ops: Ops, dtype: str) -> None:
    """Check that `Trainer.fit`, `predict`, `evaluate` and `accuracy` do as on NumPy, and give the same bits twice."""
    where = f"training[{dtype}-fit]"
    got = trained(ops.backend, dtype)
    require(got["predict"].dtype == np.dtype(dtype), f"{where}: predict gave {got['predict'].dtype}")
    _require_alike(got, expected(dtype), dtype, where)
    again = trained(ops.backend, dtype)
    differing = [name for name, values in got.items() if not same_bits(values, again[name])]
    require(not differing, f"{where}: two trainings of one seed differ in {', '.join(differing)}")


def step(ops: Ops, dtype: str) -> None:
    """Check `Trainer.step` on arrays of the backend and on NumPy's, against the NumPy backend."""
    x, t = _data(dtype)

    def steps(backend: Backend, native: bool) -> Outcome:
        trainer, losses = _trainer(backend, dtype), []
        for start in (0, 10, 90, 20):
            rows = x[start : start + _BATCH], t[start : start + _BATCH]
            loss = trainer.step(*(map(backend.to_device, rows) if native else rows))
            losses.append(float(backend.to_host(loss)))
        return {"the losses": np.array(losses), **_outcome(trainer, dtype)}

    where, wanted = f"training[{dtype}-step]", steps(get_backend("numpy"), native=False)
    _require_alike(steps(ops.backend, native=True), wanted, dtype, f"{where}, arrays of the backend")
    _require_alike(steps(ops.backend, native=False), wanted, dtype, f"{where}, NumPy's arrays")


def resume(ops: Ops, dtype: str) -> None:
    """Check that a training that was saved, loaded and continued ends with the same bits as one in a piece.

    Also checked is that the NumPy backend can load it.
    """
    where, whole = f"training[{dtype}-resume]", trained(ops.backend, dtype)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kit.safetensors")
        begun = _fit(_trainer(ops.backend, dtype), dtype, 2, checkpoint=path)
        loaded = Trainer.load(path, backend=ops.backend)
        for name, values in begun.model.state_dict().items():
            back = loaded.model.state_dict()[name]
            require(same_bits(values, back), f"{where}: {name} is not what was saved")
        elsewhere = Trainer.load(path, backend="numpy").model.predict(_data(dtype)[0])
        _require_alike({"predict": elsewhere}, {"predict": begun.model.predict(_data(dtype)[0])}, dtype, where)
        got = _outcome(_fit(loaded, dtype, 3), dtype)
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


CHECKS = {"fit": fit, "step": step, "resume": resume, "layers": layers}
