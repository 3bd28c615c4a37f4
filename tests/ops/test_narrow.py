"""Rounding to bfloat16 below float32's normal numbers: the kit leaves it out, since GPUs may take them for zero."""

import numpy as np
import pytest

import nnx
from nnx.ops import Ops
from nnx.testing._narrow import rounded


@pytest.mark.parametrize("name", ["numpy", "numba"])
def test_denormal_numbers(name):
    bits = np.random.default_rng(0).integers(0, 0x800000, 5000).astype(np.uint32)
    ties = bits >> 16 << 16 | 0x8000
    x = np.concatenate([bits, ties, bits | 1 << 31]).view(np.float32)
    got = Ops(nnx.get_backend(name)).narrow(x, "bfloat16")
    assert np.array_equal(got.view(np.uint32), rounded(x, "bfloat16").view(np.uint32))
