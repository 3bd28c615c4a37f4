"""The kit itself: it covers every operation, passes what is right, and fails what is wrong."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import array_api_strict
import kit
import numpy as np
import pytest
from nnx_numpy import NumpyBackend
from strict import StrictBackend

import nnx
from nnx import testing
from nnx.errors import InputError
from nnx.ops import spec
from nnx.ops._bind import Ops
from nnx.testing._arrays import LAYOUTS, Placed, mismatch
from nnx.testing._cases import CASES
from nnx.testing._reference import philox_block

DOCS = Path(__file__).parents[2] / "docs"


def assert_conforms(report: testing.Report) -> None:
    assert report.ok, str(report)


def test_every_operation_has_a_case():
    assert {case.op for case in CASES} | {"capture", "narrow"} == set(spec.OPERATIONS)


def test_names_are_unique():
    names = [check.name for check in testing.checks()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_the_reference_philox_gives_the_known_answers_of_random123(counter, key, words):
    def integers(text: str) -> tuple[int, ...]:
        return tuple(int(word, 16) for word in text.split())

    assert philox_block(integers(counter), integers(key)) == integers(words)


class TestConforming:
    @kit.dtypes(pytest.mark.slow)
    def test_numpy(self, dtype):
        explanation = kit.passes(NumpyBackend(), dtype)
        assert "update_" in explanation.fused
        assert explanation.declined, "the optimizers decline strided arrays"

    @pytest.mark.long
    def test_numpy_in_many_blocks(self, monkeypatch):
        monkeypatch.setattr("nnx_numpy._formula.BLOCK", 100)
        monkeypatch.setattr("nnx_numpy._backend.BLOCK", 100)
        ops = Ops(NumpyBackend())
        for check in testing.checks(["activation", "activation_backward", "loss", "update_"]):
            check.run(ops)

    @kit.dtypes(pytest.mark.long)
    def test_the_compositions_over_numpy(self, members_only, dtype):
        assert kit.passes(members_only(), dtype).fused == ()

    def test_falling_back_to_the_compositions_is_said(self, members_only):
        report = testing.run(members_only(), ["softmax"])
        assert_conforms(report)
        assert "everything passed by falling back to the compositions" in str(report)

    @pytest.mark.long
    @pytest.mark.parametrize("version", ["2023.12", array_api_strict.get_array_api_strict_flags()["api_version"]])
    def test_the_compositions_use_nothing_but_the_array_api(self, version):
        with array_api_strict.ArrayAPIStrictFlags(api_version=version):
            assert_conforms(testing.run(StrictBackend()))


def failures(backend: Any, op: str) -> str:
    report = testing.run(backend, [op])
    assert not report.ok
    for result in report.failures:
        assert result.error.startswith(f"{op}["), "the error names the operation"
    return str(report)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


class TestNotConforming:
    """One backend for each promise of the contract that it breaks."""

    def test_a_wrong_value(self, members_only):
        class Wrong(members_only):
            def activation(self, formula, x, *, out=None):
                return np.multiply(*formula.on_arrays(np, x=x), 1.001, out=out, dtype=x.dtype)

        text = failures(Wrong(), "activation")
        assert "FAILED activation[float32-relu-odd-sizes]" in text
        assert "all buffers given: result: largest error" in text
        assert "within 2e-06 + 2e-06 * |expected|" in text

    def test_a_result_that_is_not_out(self, members_only):
        class Wrong(members_only):
            def softmax(self, x, *, out=None):
                return softmax(x)

        assert "the result is not `out`" in failures(Wrong(), "softmax")

    def test_a_forgotten_return(self, members_only):
        class Wrong(members_only):
            def softmax(self, x, *, out=None):
                softmax(x)

        assert "returned None, expected the result (is a `return` missing?)" in failures(Wrong(), "softmax")

    def test_a_dtype_that_drifts(self, members_only):
        class Wrong(members_only):
            def sum_squares(self, x):
                return np.sum(x.astype(np.float64) ** 2)

        assert "result has dtype float64, expected float32" in failures(Wrong(), "sum_squares")

    def test_a_modified_input(self, members_only):
        class Wrong(members_only):
            def activation(self, formula, x, *, out=None):
                np.maximum(x, 0, out=x)
                return np.positive(x, out=out)

        assert "the input x was modified" in failures(Wrong(), "activation")

    def test_a_buffer_that_is_added_to(self, members_only):
        class Wrong(members_only):
            def affine_backward(self, dy, x, w, *, dx=None, dw=None, db=None):
                if dx is not None:
                    np.matmul(dy, w.T, out=dx)
                if dw is not None:
                    dw += x.T @ dy
                if db is not None:
                    np.sum(dy, axis=0, out=db)

        assert "all buffers given: dw: largest error inf" in failures(Wrong(), "affine_backward")

    def test_memory_beyond_a_buffer(self, members_only):
        class Wrong(members_only):
            def activation(self, formula, x, *, out=None):
                if out is None:
                    return np.maximum(x, 0)
                np.maximum(x, 0, out=out)
                np.lib.stride_tricks.as_strided(out.reshape(-1), (out.size + 1,))[-1] = 0
                return out

        assert "memory around out was written to" in failures(Wrong(), "activation")

    def test_declining_after_writing(self, members_only):
        class Wrong(members_only):
            def activation(self, formula, x, *, out=None):
                if out is not None:
                    out[...] = 0
                return NotImplemented

        assert "declined after it had written to out" in failures(Wrong(), "activation")

    def test_a_layout_that_is_taken_for_another(self, members_only):
        class Wrong(members_only):
            def softmax(self, x, *, out=None):
                return np.add(softmax(x.ravel(order="K").reshape(x.shape)), 0, out=out)

        assert "fortran arrays: result: largest error" in failures(Wrong(), "softmax")

    def test_a_nan_that_is_lost(self, members_only):
        class Wrong(members_only):
            def activation(self, formula, x, *, out=None):
                return np.fmax(x, 0, out=out)

        assert "the last element of x is NaN, but result is 0.0" in failures(Wrong(), "activation")

    def test_a_result_in_memory_that_is_used_again(self, members_only):
        class Wrong(members_only):
            memory = np.empty((), np.float32)

            def sum_squares(self, x):
                if x.dtype != np.float32:
                    return NotImplemented
                return np.sum(x * x, out=self.memory)

        assert "the second call changed the first one's result" in failures(Wrong(), "sum_squares")

    def test_a_result_that_depends_on_chance(self, members_only):
        class Wrong(members_only):
            generator = np.random.default_rng(0)

            def sum_squares(self, x):
                return np.sum(self.generator.permutation(x) ** 2, dtype=x.dtype)

        assert "result differs between two calls with the same inputs" in failures(Wrong(), "sum_squares")

    def test_an_error(self, members_only):
        class Wrong(members_only):
            def activation(self, formula, x, *, out=None):
                raise ZeroDivisionError("oh")

        text = failures(Wrong(), "activation")
        assert "activation[float32-relu-odd-sizes]: ZeroDivisionError: oh (" in text
        assert re.search(rf" \({re.escape(__file__)}:\d+, in activation\)", text), "where it was raised"

    def test_an_assertion_of_its_own(self, members_only):
        class Wrong(members_only):
            def softmax(self, x, *, out=None):
                raise AssertionError("nine axes")

        assert f"softmax[float32-odd-sizes]: AssertionError: nine axes ({__file__}:" in failures(Wrong(), "softmax")

    def test_a_function_that_xp_lacks(self, members_only):
        class Wrong(members_only):
            xp = SimpleNamespace(**{name: value for name, value in vars(np).items() if name != "permute_dims"})

        text = failures(Wrong(), "swap_axes")
        assert "has no attribute 'permute_dims' (" in text
        assert re.search(r"[\\/]nnx[\\/]ops[\\/]spec.py:\d+, in swap_axes\)", text), "the composition that asks for it"

    def test_a_backward_that_does_not_fit_its_forward(self, members_only):
        class Wrong(members_only):
            def activation(self, formula, x, *, out=None):
                return np.tanh(x * 2) if formula.name == "tanh" else NotImplemented

        report = testing.run(Wrong(), ["activation_backward"])
        names = [result.check.name for result in report.failures]
        assert names == ["activation_backward[float64-tanh-numerical-gradient]"]
        assert "central differences of the forward operation give" in str(report)


class TestRequiredMembers:
    def test_a_copy_in_place_of_a_view(self, members_only):
        class Copying:
            def __getattr__(self, name):
                return getattr(np, name)

            def reshape(self, x, shape):
                return np.reshape(x, shape).copy()

        class Wrong(members_only):
            xp = Copying()

        assert "writing to a reshaped slice of a buffer does not show in the buffer" in failures(Wrong(), "required")

    def test_a_dtype_lost_on_the_way(self, members_only):
        class Wrong(members_only):
            def to_device(self, host, /):
                return host.astype(np.float32) if host.dtype == np.float64 else host

        assert "came back as float32" in failures(Wrong(), "required")

    def test_a_product_that_ignores_out(self, members_only):
        class Wrong(members_only):
            def matmul(self, a, b, /, *, out=None):
                return a @ b

        assert "with out= does not return out" in failures(Wrong(), "required")

    def test_descriptions(self, members_only):
        class Wrong(members_only):
            def device_info(self):
                return {"threads": 2}

        assert "device_info() gave {'threads': 2}, expected a dictionary of strings" in failures(Wrong(), "required")

    def test_a_member_that_is_not_there(self, members_only):
        class Wrong(members_only):
            synchronize = property()

        text = failures(Wrong(), "required")
        assert "required[descriptions]: the backend lacks synchronize(); nnx.Backend says what they do" in text

    def test_a_misspelt_operation_is_told_of(self, members_only):
        class Misspelt(members_only):
            def afine(self, x, w, b=None, *, activation=None, out=None):
                raise AssertionError

            def update(self, *args):
                raise AssertionError

            def prepare(self):
                pass

        report = testing.run(Misspelt(), ["softmax"])
        for text in (str(report), str(report.explanation)):
            assert "it has a method 'afine', which nothing calls; did you mean the operation affine?" in text
            assert "it has a method 'update', which nothing calls; did you mean the operation update_?" in text
            assert "prepare" not in text
        assert report.ok

    @pytest.mark.parametrize("name", ["numpy", "numba"])
    def test_the_backends_that_come_with_nnx_misspell_nothing(self, name):
        assert Ops(nnx.get_backend(name)).explain().misspelt == {}

    def test_a_training_that_goes_astray(self, members_only):
        class Wrong(members_only):
            def matmul(self, a, b, /, *, out=None):
                return np.multiply(np.matmul(a, b), 1.01 if b.shape == (12, 3) else 1, out=out)

        text = failures(Wrong(), "training")
        assert "training[float32-fit]: a training is not as on the numpy backend: the history's loss: " in text

    def test_a_training_that_fails(self, members_only):
        class Wrong(members_only):
            def allocate(self, size, dtype):
                return np.zeros(size, {"float32": np.float32, "float64": np.float64}[dtype])

        assert "training[float32-fit]: KeyError: 'bool'" in failures(Wrong(), "training")

    def test_a_training_that_depends_on_what_ran_before(self, members_only):
        class Wrong(members_only):
            products = 0

            def matmul(self, a, b, /, *, out=None):
                self.products += 1
                return np.multiply(np.matmul(a, b), b.dtype.type(1 + 1e-6 * (self.products == 3)), out=out)

        text = failures(Wrong(), "training")
        assert "training[float32-fit]: two trainings of one seed differ in the history's " in text


class TestArrays:
    @pytest.mark.parametrize("layout", ["contiguous", *LAYOUTS])
    @pytest.mark.parametrize("shape", [(), (7,), (5, 3), (2, 3, 5)])
    def test_a_placed_array_sees_what_is_written_inside_and_around_it(self, members_only, layout, shape):
        from nnx.ops._bind import Ops

        values = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
        placed = Placed(Ops(members_only()), values, layout)
        assert np.array_equal(placed.array, values)
        assert placed.unchanged()
        placed.array[...] = values + 1
        assert not placed.unchanged()
        assert placed.unchanged_around()
        assert np.array_equal(placed.values(), values + 1)
        start = placed.array.__array_interface__["data"][0] - placed._memory.ctypes.data
        placed._memory[start // 4 - 1] = 0
        assert not placed.unchanged_around()

    def test_layouts_are_what_they_say(self, members_only):
        from nnx.ops._bind import Ops

        ops, values = Ops(members_only()), np.zeros((5, 3), np.float32)
        strides = {layout: Placed(ops, values, layout).array.strides for layout in ("contiguous", *LAYOUTS)}
        assert strides == {
            "contiguous": (12, 4),
            "misaligned": (12, 4),
            "fortran": (4, 20),
            "strided": (24, 8),
            "row-gaps": (24, 4),
        }
        addresses = [Placed(ops, values, layout).array.ctypes.data % 8 for layout in ("contiguous", "misaligned")]
        assert addresses == [0, 4]

    def test_a_mismatch_tells_the_worst_element(self):
        expected = np.array([[1.0, 2.0], [3.0, 4.0]])
        assert mismatch(expected.astype(np.float32), expected, 0.0) is None
        assert mismatch(expected + 1e-9, expected, 1e-8) is None
        text = mismatch(expected + np.array([[0, 0.5], [0.25, 0]]), expected, 1e-8)
        assert text.startswith("largest error 0.5 at (0, 1): got 2.5, expected 2.0, within 1e-08 + 1e-08 * |expected|")
        assert text.endswith("2 of 4 elements are wrong")

    def test_nan_matches_nan_alone(self):
        nan, one = np.array(np.nan), np.array(1.0)
        assert mismatch(nan, nan, 0.0) is None
        assert "largest error inf" in mismatch(nan, one, 1.0)
        assert "largest error inf" in mismatch(one, nan, 1.0)

    @pytest.mark.parametrize("tolerance", [0.0, 1e-8])
    def test_an_infinity_matches_itself_alone(self, tolerance):
        infinite = np.array([np.inf, -np.inf])
        assert mismatch(infinite, infinite, tolerance) is None
        assert "2 of 2 elements are wrong" in mismatch(-infinite, infinite, tolerance)
        assert "2 of 2 elements are wrong" in mismatch(np.ones(2), infinite, tolerance)
        assert "2 of 2 elements are wrong" in mismatch(infinite, np.ones(2), tolerance)


def test_an_unknown_operation_is_refused(members_only):
    with pytest.raises(InputError, match=r"unknown operation 'sofmax'\. Did you mean 'softmax'"):
        testing.run(members_only(), ["sofmax"])


def test_the_published_tolerances_are_those_of_the_table():
    assert testing.tolerances() in (DOCS / "conformance.md").read_text()
