"""Data sets: the digits that come with nnx, MNIST and Fashion-MNIST, and any folder of idx files."""

from ._dataset import Dataset
from ._digits import digits
from ._download import fashion_mnist, mnist
from ._folder import folder, idx_files
from ._idx import read_idx, write_idx
from ._load import NAMES, Data, Splits, as_splits, check_enough, load
from ._pictures import as_pictures, drawable
from ._prepare import one_hot, shuffle, split, split_rows

__all__ = [
    "NAMES",
    "Data",
    "Dataset",
    "Splits",
    "as_pictures",
    "as_splits",
    "check_enough",
    "digits",
    "drawable",
    "fashion_mnist",
    "folder",
    "idx_files",
    "load",
    "mnist",
    "one_hot",
    "read_idx",
    "shuffle",
    "split",
    "split_rows",
    "write_idx",
]
