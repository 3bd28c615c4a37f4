import gzip
from pathlib import Path

import numpy as np


def init_mnist():
    pass


def load_mnist(normalize=True, flatten=True, one_hot_label=False):
    def read(part, what, start):
        with gzip.open(Path(__file__).parent / f"{part}-{what}-ubyte.gz") as file:
            return np.frombuffer(file.read(), np.uint8, offset=start)

    def load(part):
        x = read(part, "images-idx3", 16).reshape(-1, *((784,) if flatten else (1, 28, 28)))
        t = read(part, "labels-idx1", 8)
        return x.astype(np.float32) / 255 if normalize else x, np.eye(10)[t] if one_hot_label else t

    return load("train"), load("t10k")
