"""Data sets: the digits that come with nnx, MNIST and Fashion-MNIST, tables, arrays, folders of idx or image files."""

from ._arrays import is_arrays, read_rows
from ._dataset import Dataset
from ._digits import digits
from ._disk import DiskDataset, as_disk, counted_from, on_disk, stays_on_disk
from ._download import fashion_mnist, mnist
from ._folder import folder, idx_files
from ._idx import read_idx, write_idx
from ._images import Size, image_folder, read_image
from ._load import NAMES, Data, Splits, as_splits, check_enough, load, reads_images
from ._load_disk import DiskSplits, load_on_disk
from ._pictures import Layout, as_pictures, drawable, light_background
from ._preparation import Column, Preparation
from ._prepare import one_hot, shuffle, split, split_rows
from ._shuffle_file import shuffle_file
from ._style import PictureStyle, picture_files
from ._table import Table, as_table, is_table, read_table

__all__ = [
    "NAMES",
    "Column",
    "Data",
    "Dataset",
    "DiskDataset",
    "DiskSplits",
    "Layout",
    "PictureStyle",
    "Preparation",
    "Size",
    "Splits",
    "Table",
    "as_disk",
    "as_pictures",
    "as_splits",
    "as_table",
    "check_enough",
    "counted_from",
    "digits",
    "drawable",
    "fashion_mnist",
    "folder",
    "idx_files",
    "image_folder",
    "is_arrays",
    "is_table",
    "light_background",
    "load",
    "load_on_disk",
    "mnist",
    "on_disk",
    "one_hot",
    "picture_files",
    "read_idx",
    "read_image",
    "read_rows",
    "read_table",
    "reads_images",
    "shuffle",
    "shuffle_file",
    "split",
    "split_rows",
    "stays_on_disk",
    "write_idx",
]
