"""All formulas: activations, losses, optimizers. One that is registered needs no line here."""

import math
from collections.abc import Iterable
from inspect import signature
from typing import Any

import numpy as np

from ...formula import Formula, Number, where
from ...layers import LAYERS, RUNNING_AVERAGE, Activation
from ...losses import LOSSES, ElementwiseLoss
from ...optimizers import OPTIMIZERS
from .._case import EXACT, SUMS, Case, Inputs, Maker, cases
from .._formulas import activated
from ._inputs import SHAPES, by_shape, normal
from .layers import AFFINE
from .losses import large_logits, weighted, without_bias
from .pictures import CONVOLUTION

_MANY, _MANY_DECAYED = 70001, 40003  # several of the blocks that an implementation might do at a time
_EXTREMES = np.array([[-1e4, 1e4, 0.0], [-0.0, -90.0, 90.0], [-1e-6, 1e-6, 1.0], [-7.5, 7.5, -6.0]])


def _made(kinds: Iterable[type[Any]], base: type[Any]) -> list[Any]:
    """Make one of each kind that needs no arguments."""
    kinds = [kind for kind in kinds if issubclass(kind, base) and kind is not base]
    return [kind() for kind in kinds if not [p for p in signature(kind).parameters.values() if p.default is p.empty]]


ACTIVATIONS: list[Activation] = _made(LAYERS.values(), Activation)
ELEMENTWISE: list[ElementwiseLoss] = _made(LOSSES.values(), ElementwiseLoss)


def _named(formula: Formula, makers: dict[str, Maker]) -> dict[str, Maker]:
    return {f"{formula.name}-{name}": maker for name, maker in makers.items()}


def activation_cases(layer: Activation) -> list[Case]:
    """Make the cases of an activation: alone, its backward, and after products."""
    formula, backward = layer.formula, layer.formula_backward

    def forward(r: np.random.Generator, n: int, c: int) -> Inputs:
        return normal(r, x=(n, c))

    def both(r: np.random.Generator, *shape: int) -> Inputs:
        """Draw inputs with zeros among them, where there may be a kink."""
        inputs = normal(r, dy=shape, x=shape)
        inputs["x"] = np.where(r.random(shape) < 0.2, 0.0, inputs["x"])
        return inputs | {"y": activated(formula, inputs["x"])}

    def after(maker: Maker) -> Maker:
        return lambda r: maker(r) | {"activation": formula}

    large: dict[str, Maker] = {"large": lambda r: {"x": _EXTREMES}}
    products = {name: after(maker) for name, maker in AFFINE.items()}
    filtered = {name: after(CONVOLUTION[name]) for name in ("odd-channels", "one-pixel", "no-bias")}
    shapes = {**SHAPES, "pictures": (3, 5, 4, 7)}
    return [
        *cases("activation", _named(formula, by_shape(forward) | large), nan="x", formula=formula),
        *cases("activation_backward", _named(backward, by_shape(both, shapes)), SUMS, nan="dy", formula=backward),
        *cases("affine", _named(formula, products), SUMS, nan="x"),
        *cases("convolution", _named(formula, filtered), SUMS, nan="x"),
    ]


def loss_cases(loss: ElementwiseLoss) -> list[Case]:
    """Make the cases of a loss. The targets are 0, 1 and a number between them, which every loss takes."""
    formula = loss.formula
    settings = [getattr(loss, name) for name in loss.settings]
    hyper = {"hyper": np.array(settings)} if settings else {}

    def problem(r: np.random.Generator, n: int, c: int) -> Inputs:
        return normal(r, z=(n, c), bias=c) | {"t": r.choice([0.0, 1.0, 0.3], (n, c))} | hyper

    makers: dict[str, Maker] = {
        **by_shape(problem),
        "no-bias": lambda r: without_bias(problem(r, 37, 13)),
        "weights": lambda r: weighted(r, problem(r, 37, 13)),
        "weights-narrow": lambda r: weighted(r, problem(r, 37, 7)),
        "weights-wide": lambda r: weighted(r, problem(r, 3, 515)),
    }
    return cases("loss", _named(formula, makers), SUMS, nan="z", formula=formula)


def update_cases(formula: Formula) -> list[Case]:
    """Make the cases of an update: any formula whose first input is the parameters and whose second is the gradient."""
    decays = "weight_decay" in formula.scalars

    def make(
        *shape: int,
        decay: int | None = None,
        weight_decay: float = 0.2,
        grad_scale: float = 0.5,
        guard: float | None = None,
        spread: float = 1.0,
    ) -> Maker:
        def inputs(r: np.random.Generator) -> Inputs:
            call: Inputs = {name: r.normal(0, spread, shape) for name in formula.inputs[:2]}
            call |= {name: abs(r.normal(0, spread, shape)) for name in formula.inputs[2:]}
            own = r.uniform(0.2, 0.8, len(formula.scalars) - 2 * decays)
            call["hyper"] = np.array([*own, weight_decay, grad_scale]) if decays else own
            if decay is not None and decays:
                call["decay"] = decay
            if guard is not None:
                call["guard"] = np.array(guard)
            return call

        return inputs

    right = {
        "one-element": make(1, decay=1),
        "some-decay": make(37, decay=13),
        "no-decay": make(37, decay=0),
        "all-decay": make(37, decay=37),
        "decay-of-one": make(37, decay=13, weight_decay=1.0),
        "unscaled": make(37, decay=13, grad_scale=1.0),
        "unscaled-undecayed": make(37, decay=13, weight_decay=0.0, grad_scale=1.0),
        "matrix": make(5, 7, decay=35),
        "matrix-some-decay": make(5, 7, decay=13),
        "matrix-by-default": make(5, 7),
        "finite-guard": make(37, decay=13, guard=-2.5),
        "blocks": make(_MANY, decay=_MANY_DECAYED),
        "whole-blocks": make(65536, decay=32768),
    }
    exact = {
        "nan-guard": make(37, decay=13, guard=np.nan),
        "infinite-guard": make(37, decay=13, guard=np.inf),
        "padding": make(37, decay=13, spread=0.0),
    }
    return [
        *cases("update_", _named(formula, right), nan=formula.inputs[1], formula=formula),
        *cases("update_", _named(formula, exact), EXACT, formula=formula),
    ]


def _binary(r: np.random.Generator) -> Inputs:
    return {"z": large_logits(r)["z"], "t": r.choice([0.0, 1.0, 0.3], (37, 13))}


def _comparisons(x: Number) -> Number:
    """Return a number that tells which comparisons with 0 hold."""
    return where(x < 0, 1, 0) + where(x <= 0, 2, 0) + where(x > 0, 4, 0) + where(x >= 0, 8, 0)


def _signs(r: np.random.Generator) -> Inputs:
    return {"x": r.choice([-1.0, -0.0, 0.0, 1.0], (37, 13))}


def _choices(x: Number) -> Number:
    """Return numbers, infinite ones among them, that no other formula of the kit returns."""
    finite = where(x > 0, 1, -1) * where(x < 0, 1, 1) + where(x < -0.5, 0, 0)
    return where(x > 1, math.inf, where(x < -1, -math.inf, finite))


def _exchanged(p: Number, g: Number, m: Number, v: Number, w: Number, rate: Number) -> tuple[Number, ...]:
    """Return inputs in each other's place, a setting, and what a setting chooses."""
    return m, p, rate, where(rate > 0, 2 * p, g)


def _five(r: np.random.Generator) -> Inputs:
    return normal(r, **dict.fromkeys("pgmvw", 37)) | {"hyper": np.array([0.75])}


_CHOICES = Formula("choices", _choices, ["x"], ["y"])
_EXCHANGED = Formula("exchanged", _exchanged, "pgmvw", "pmvw", ["rate"])
_LINEAR = Formula("linear", lambda z, t, rate: (rate * (z - t), rate), ["z", "t"], ["loss", "dz"], ["rate"])
_COMPARISONS = Formula("comparisons", _comparisons, ["x"], ["y"])
_SIGMOID = LOSSES["SigmoidCrossEntropy"]().formula  # type: ignore[attr-defined]
CASES = [
    *cases("activation", {"choices": lambda r: normal(r, x=(37, 13))}, EXACT, formula=_CHOICES),
    *cases("update_", {"exchanged": _five}, EXACT, formula=_EXCHANGED),
    *cases(
        "loss",
        {"linear": lambda r: normal(r, z=(37, 13), t=(37, 13), bias=13) | {"hyper": np.array([0.75])}},
        SUMS,
        formula=_LINEAR,
    ),
    *(case for layer in ACTIVATIONS for case in activation_cases(layer)),
    *cases("activation", {"comparisons-at-0": _signs}, EXACT, formula=_COMPARISONS),
    *(case for loss in ELEMENTWISE for case in loss_cases(loss)),
    *cases("loss", {"sigmoidcrossentropy-large-logits": _binary}, SUMS, formula=_SIGMOID),
    *(case for kind in OPTIMIZERS.values() for case in update_cases(kind.formula())),
    *update_cases(RUNNING_AVERAGE),
]
