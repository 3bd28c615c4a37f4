"""A data set by name or folder, in parts to train on, to validate and to test."""

import os
from pathlib import Path
from typing import NamedTuple

from ..errors import InputTypeError, unknown
from ._dataset import Dataset
from ._digits import digits
from ._download import fashion_mnist, mnist
from ._folder import folder

NAMES = ("digits", "mnist", "fashion_mnist")


class Splits(NamedTuple):
    """The parts of a data set: choose on `validation`, look at `test` once."""

    train: Dataset
    validation: Dataset
    test: Dataset


def load(name: "str | os.PathLike[str]", *, seed: int = 0) -> Splits:
    """A data set by its name, or from a folder of idx files.

    Where it has no test part, a random fifth is held out; a tenth of the rest is for validation. `seed` decides which
    rows.
    """
    if not isinstance(name, str | os.PathLike):
        raise InputTypeError(f"name: got {name!r}, expected a data set's name or a folder.")
    if name == "digits":
        rest, test = digits().split(0.8, 0.2, seed=seed)
    elif name == "mnist":
        rest, test = mnist("train"), mnist("test")
    elif name == "fashion_mnist":
        rest, test = fashion_mnist("train"), fashion_mnist("test")
    elif Path(name).is_dir():
        parts = folder(name)
        if len(parts) == 2:
            rest, test = parts["train"], parts["test"]
        else:
            rest, test = next(iter(parts.values())).split(0.8, 0.2, seed=seed)
    else:
        raise unknown("data set", name, [*NAMES, "a folder of idx files"])
    train, validation = rest.split(0.9, 0.1, seed=seed)
    return Splits(train, validation, test)
