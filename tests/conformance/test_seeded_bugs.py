"""How sharp is the kit? It has to find each bug of a fixed list, and to name the operation."""

import importlib
from functools import cache, partial
from pathlib import Path
from types import ModuleType

import pytest
from nnx_numpy import NumpyBackend, _backend, _optimizers

from nnx import testing
from nnx.formula import Formula
from nnx.layers import _activations
from nnx.ops import spec
from nnx.ops._bind import Ops

from .seeded_bugs import ACTIVATIONS, ARRAYS, BUGS, COMPOSE, DERIVATIVE, FORMULA, LOSSES, OPTIMIZERS, Bug


def with_bug(bug: Bug) -> ModuleType:
    """The module as it would be with the bug, made in memory."""
    original = importlib.import_module(bug.module)
    source = Path(original.__file__).read_text()
    assert source.count(bug.right) == 1, (
        f"{bug.module} has changed: {bug.right!r} is there {source.count(bug.right)} times"
    )
    module = ModuleType(f"{bug.module}_with_a_bug")
    module.__package__ = original.__package__
    exec(compile(source.replace(bug.right, bug.wrong), f"{module.__name__}.py", "exec"), module.__dict__)
    return module


def substituting(members_only: type, formulas: list[Formula]) -> object:
    """Compositions of the formulas with a bug, in the place of those of their names that are asked for."""
    wrong = {(f.name, f.outputs): f for f in formulas}

    def composed(op):
        return lambda self, formula, *args, **kwargs: getattr(spec, op)(
            self, wrong.get((formula.name, formula.outputs), formula), *args, **kwargs
        )

    ops = {op: composed(op) for op in ("activation", "activation_backward", "loss", "update_")}
    return type("Substituting", (members_only,), ops)()


def formulas_of(module: ModuleType) -> list[Formula]:
    """Those of the classes in a module, of activations, losses or optimizers."""
    kinds = [c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__]
    found = []
    for kind in kinds:
        if "rule" in dir(kind):
            found.append(kind.formula())
        elif "function" in vars(kind) and kind.__name__ not in ("Activation", "ElementwiseLoss"):
            made = kind()
            found += [made.formula, *([made.formula_backward] if hasattr(kind, "formula_backward") else [])]
    return found


def backend_with(bug: Bug, members_only: type, monkeypatch: pytest.MonkeyPatch) -> object:
    module = with_bug(bug)
    if bug.module == COMPOSE:
        # The compositions as a backend's own operations: the backend has all that they ask of `ops`.
        backend = members_only()
        for op in module.OPERATIONS:
            setattr(backend, op, partial(getattr(module, op), backend))
        return backend
    if bug.module == ARRAYS:
        monkeypatch.setattr("nnx.formula._formula.on_arrays", module.on_arrays)
        return members_only()
    if bug.module == DERIVATIVE:
        monkeypatch.setattr(_activations, "derivative", module.derivative)
        return substituting(members_only, formulas_of(_activations))
    if bug.module in (OPTIMIZERS, ACTIVATIONS, LOSSES):
        return substituting(members_only, formulas_of(module))
    if bug.module == FORMULA:
        module.BLOCK = 16  # the kit's arrays are of many blocks then
        for user in (_backend, _optimizers):
            for name in ("elementwise", "loss_program", "value_of", "program", "run_blocks"):
                if hasattr(user, name):
                    monkeypatch.setattr(user, name, getattr(module, name))
        monkeypatch.setattr(_optimizers, "_update", cache(_optimizers._update.__wrapped__))
        return NumpyBackend()
    (changed,) = (
        c
        for c in vars(module).values()
        if isinstance(c, type) and c.__module__ == module.__name__ and not issubclass(c, tuple)
    )
    return type("BackendWithABug", (changed, NumpyBackend), {})()


def test_every_operation_has_a_bug():
    assert {bug.op for bug in BUGS} == set(spec.OPERATIONS)


def test_the_compositions_pass_as_a_backend_of_their_own(members_only, monkeypatch):
    nothing = Bug("", "none", COMPOSE, '"""Every operation, composed', '"""Every operation, composed')
    report = testing.run(backend_with(nothing, members_only, monkeypatch))
    assert report.ok, str(report)
    assert report.explanation.fused == spec.OPERATIONS


def check_all(ops: Ops, op: str) -> None:
    for check in testing.checks([op]):
        check.run(ops)


@pytest.mark.filterwarnings("ignore")  # what a bug computes may overflow
@pytest.mark.parametrize("bug", [pytest.param(b, id=f"{b.op}-{b.what}".replace(" ", "-")) for b in BUGS])
def test_the_kit_finds(bug, members_only, monkeypatch):
    ops = Ops(backend_with(bug, members_only, monkeypatch))
    with pytest.raises(AssertionError, match=rf"^{bug.op}\["):
        check_all(ops, bug.op)
