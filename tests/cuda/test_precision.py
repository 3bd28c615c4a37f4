"""The kernels of mixed precision, run by the emulator: on every 16-bit number, and in any order of the warps."""

import numpy as np
import pytest
from emulator import EmulatedBackend
from ml_dtypes import bfloat16

from nnx import testing

pytestmark = pytest.mark.slow

FORMATS = {"bfloat16": bfloat16, "float16": np.float16}


@pytest.mark.parametrize("op", ["narrow", "rescale_", "unscale_"])
@pytest.mark.parametrize("order", [0, 1, 7])
def test_conformance(op, order):
    report = testing.run(EmulatedBackend(order), [op])
    assert report.ok, str(report)
    assert op in report.explanation.fused


@pytest.mark.parametrize("precision", FORMATS)
@pytest.mark.parametrize("start", [0, 1])
def test_every_number_and_what_lies_between_two(precision, start):
    """Each number of the format stays; halfway to the next the even one is taken, and beyond that the next."""
    exact = np.arange(2**16, dtype=np.uint16).view(FORMATS[precision]).astype(np.float32)
    exact = np.sort(exact[np.isfinite(exact) & (np.abs(exact) > 1e-36)])
    half = ((exact[:-1].astype(float) + exact[1:]) / 2).astype(np.float32)
    x = np.concatenate([exact, half, np.nextafter(half, np.float32(np.inf)), np.nextafter(half, np.float32(-np.inf))])
    memory = np.empty(x.size + 1, np.float32)
    memory[start : x.size + start] = x
    got = EmulatedBackend().narrow(memory[start : x.size + start], precision)
    assert got.dtype == FORMATS[precision]
    np.testing.assert_array_equal(got.astype(np.float32), x.astype(FORMATS[precision]).astype(np.float32))


@pytest.mark.parametrize("precision", FORMATS)
def test_a_product_of_our_own_reads_every_number(precision):
    """cuBLASLt takes no matrix of one column: the kernel's sums have one summand here, and are exact."""
    numbers = np.arange(2**16, dtype=np.uint16).view(FORMATS[precision])
    numbers = numbers[~np.isnan(numbers.astype(np.float32))][:, None]
    numbers = numbers[(np.abs(numbers.astype(float)) > 1e-36)[:, 0]]
    product = EmulatedBackend().affine(np.ascontiguousarray(numbers), np.ones((1, 1), FORMATS[precision]))
    np.testing.assert_array_equal(product, numbers.astype(np.float32))


@pytest.mark.parametrize(("x", "out"), [(np.zeros(4), None), (np.zeros(8, np.float32)[::2], None)])
def test_declined(x, out):
    assert EmulatedBackend().narrow(x, "float16", out=out) is NotImplemented


def test_products_of_two_formats_are_declined():
    x, w = np.zeros((3, 4), np.float16), np.zeros((4, 2), np.float32)
    assert EmulatedBackend().affine(x, w) is NotImplemented
    assert EmulatedBackend().affine(x, w.astype(np.float16), np.zeros(2)) is NotImplemented
