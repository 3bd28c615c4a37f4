"""How sharp is the kit? It has to find each bug of a fixed list, and to name the operation."""

import importlib
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from nnx_numpy import NumpyBackend

from nnx import compose, testing
from nnx.ops import Ops

from .seeded_bugs import BUGS, COMPOSE, Bug


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


def backend_with(bug: Bug, members_only: type) -> object:
    module = with_bug(bug)
    if bug.module == COMPOSE:
        # The compositions as a backend's own operations: the backend has all that they ask of `ops`.
        backend = members_only()
        for op in module.OPERATIONS:
            setattr(backend, op, partial(getattr(module, op), backend))
        return backend
    (changed,) = (c for c in vars(module).values() if isinstance(c, type) and c.__module__ == module.__name__)
    return type("BackendWithABug", (changed, NumpyBackend), {})()


def test_every_operation_has_a_bug():
    assert {bug.op for bug in BUGS} == set(compose.OPERATIONS)


def test_the_compositions_pass_as_a_backend_of_their_own(members_only):
    nothing = Bug("", "none", COMPOSE, '"""Every operation, composed', '"""Every operation, composed')
    report = testing.run(backend_with(nothing, members_only))
    assert report.ok, str(report)
    assert report.explanation.fused == compose.OPERATIONS


def check_all(ops: Ops, op: str) -> None:
    for check in testing.checks([op]):
        check.run(ops)


@pytest.mark.filterwarnings("ignore")  # what a bug computes may overflow
@pytest.mark.parametrize("bug", [pytest.param(b, id=f"{b.op}-{b.what}".replace(" ", "-")) for b in BUGS])
def test_the_kit_finds(bug, members_only):
    ops = Ops(backend_with(bug, members_only))
    with pytest.raises(AssertionError, match=rf"^{bug.op}\["):
        check_all(ops, bug.op)
