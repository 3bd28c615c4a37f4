"""Real handwritten digits, few enough to come with nnx."""

import numpy as np

from ._dataset import Dataset
from ._idx import read_idx


def digits() -> Dataset:
    """Return 1,797 handwritten digits of 8 x 8 pixels, uint8 in 0..16.

    They are the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin & C. Kaynak 1998, doi
    10.24432/C50P49, CC BY 4.0).
    """
    from importlib.resources import as_file, files  # slow to import

    with as_file(files(__package__) / "data") as data:
        x = read_idx(data / "digits-images-idx3-ubyte.gz")
        t = read_idx(data / "digits-labels-idx1-ubyte.gz")
    return Dataset("digits", x, t.astype(np.int64), 1 / 16, tuple("0123456789"))
