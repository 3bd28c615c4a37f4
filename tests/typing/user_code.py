"""Typical user code, which a strict type checker accepts; what it must refuse has an ignore, which must be needed.

`make check` runs mypy on it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import nnx
from nnx import np as xp
from nnx._support.arena import Spec
from nnx.ops.protocol import Array, CompileSeconds

Floats = npt.NDArray[np.float32]


def train(folder: Path) -> float:
    train, test = nnx.datasets.digits().split(0.2, seed=0)
    model = nnx.Sequential(nnx.Affine(100), nnx.BatchNorm(), nnx.ReLU(), nnx.Dropout(0.2), nnx.Affine(10))
    trainer = nnx.Trainer(model, nnx.Adam(nnx.schedules.Cosine(1e-3, steps=100)), weight_decay=1e-4, backend="numba")
    history = trainer.fit(
        train,
        epochs=2,
        validation_data=test,
        callbacks=[show],
        early_stopping=nnx.EarlyStopping(patience=3),
        checkpoint=folder / "run.safetensors",
    )
    best: float = min(history["val_loss"])
    loss, accuracy = trainer.evaluate(test)
    scores: npt.NDArray[Any] = model.predict(test)
    again = nnx.Trainer.load(folder / "run.safetensors", backend="numpy")
    again.step(np.zeros((4, 64), np.float32), np.zeros(4, np.int64))
    return best + loss + (accuracy or 0.0) + float(scores.max())


def by_name(x: Floats, t: npt.NDArray[np.int64]) -> float:
    trainer = nnx.Trainer(nnx.MLP((100,), 10), "adam", "cross_entropy")
    trainer.fit(x, t, early_stopping=5, validation_data=(x, t), verbose=False)
    trainer.model.params["1.W"] *= 0.5
    loss, _ = trainer.model.evaluate(x, t)
    return float(trainer.predict_proba(x).max() + trainer.predict(x).max()) + trainer.accuracy(x, t) + loss


def show(trainer: nnx.Trainer, epoch: int, logs: dict[str, float]) -> bool:
    print(epoch, logs["loss"], trainer.steps)
    return logs["loss"] < 0.01


class LeakyReLU(nnx.Layer):
    """A layer of one's own."""

    fields = ("slope",)

    def __init__(self, slope: float = 0.01) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        if train_flg:
            self._saved = x
        return self.ops.xp.where(x > 0, x, self.slope * x)

    def backward(self, dout: Array) -> Array:
        return self.ops.xp.where(self._saved > 0, dout, self.slope * dout)


class Scale(nnx.Layer):
    """A layer with a parameter."""

    def declare(self, shape: tuple[int, ...]) -> tuple[Sequence[Spec], tuple[int, ...]]:
        return [Spec("s", shape, value=1.0)], shape

    def forward(self, x: Array, train_flg: bool = True) -> Array:
        self._saved = x
        return x * self.params["s"]

    def backward(self, dout: Array) -> Array:
        self.grads["s"][...] = self.ops.xp.sum(dout * self._saved, axis=0)
        return dout * self.params["s"]


class Plugin:
    """A backend of one's own."""

    name = "mine"
    xp: Any = np

    def to_device(self, host: npt.NDArray[Any], /) -> Array:
        return host

    def to_host(self, array: Array, /) -> npt.NDArray[Any]:
        return np.asarray(array)

    def matmul(self, a: Array, b: Array, /, *, out: Array | None = None) -> Array:
        return np.matmul(a, b, out=out)

    def synchronize(self) -> None: ...

    def device_info(self) -> dict[str, str]:
        return {"device": "CPU"}

    @classmethod
    def unavailable(cls) -> str | None:
        return None

    compile_seconds = 0.0


class Half:
    """One that lacks nearly all."""

    name = "half"


backend: nnx.Backend = Plugin()
compiles: CompileSeconds = Plugin()
half: nnx.Backend = Half()  # type: ignore[assignment]


def generic() -> Array:
    print(nnx.lab.activations())
    return xp.zeros((2, 3)) + nnx.np.ones(3)


def operations(ops: nnx.Ops, x: Floats, w: Floats) -> Array:
    y = ops.affine(x, w)
    ops.afine(x, w)  # type: ignore[attr-defined]
    ops.affine(x, w, outt=y)  # type: ignore[call-arg]
    ops.affine(x)  # type: ignore[call-arg]
    return ops.softmax(y, out=y)


def misspelt(model: nnx.Sequential, trainer: nnx.Trainer) -> None:
    model.predikt(np.zeros((2, 3)))  # type: ignore[attr-defined]
    nnx.Affine(3, initial="he")  # type: ignore[call-arg]
    nnx.Affin(3)  # type: ignore[attr-defined]
    trainer.fit(np.zeros((2, 3)), np.zeros(2), epoch=3)  # type: ignore[call-arg]
    nnx.Sequential("relu")  # type: ignore[arg-type]
