"""What a type checker is told: that nnx is typed, and which operations there are. (`make check` runs mypy.)"""

import ast
import importlib.util
from importlib.resources import files
from pathlib import Path

import pytest

import nnx
from nnx.ops import protocol as backend
from nnx.ops._bind import Ops


def generator():
    spec = importlib.util.spec_from_file_location("stub", Path(__file__).with_name("stub.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_package_says_that_it_is_typed():
    assert (files("nnx") / "py.typed").is_file()


def test_the_stub_of_the_operations_is_up_to_date():
    stub = generator()
    written = ast.parse(stub.STUB.read_text(encoding="utf-8"))
    assert ast.dump(written) == ast.dump(ast.parse(stub.stub())), "run: python tests/typing/stub.py"


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_optional_members_are_known_by_their_protocols(name):
    compiles = name == "numba"
    chosen = nnx.get_backend(name)
    assert isinstance(chosen, backend.CompileSeconds) == compiles
    assert isinstance(chosen, backend.WarmUp) == compiles
    assert not isinstance(chosen, backend.StepsPerCapture)


def test_the_gpus_optional_members():
    from nnx_cupy import CupyBackend

    assert issubclass(CupyBackend, backend.ToHostAll)
    assert CupyBackend.steps_per_capture > 1


def test_an_unknown_operation_at_run_time():
    with pytest.raises(AttributeError, match="there is no operation 'afine'; known: allocate, take"):
        Ops(nnx.get_backend("numpy")).afine  # noqa: B018
