"""Train as one rank, or alone; rank 0 prints the history and a checksum of the parameters as JSON.

    python rank_trains.py SHARDS FOLDER

SHARDS: 0 for one for each rank. FOLDER: where checkpoints go.
"""

import json
import sys
import zlib
from pathlib import Path

import numpy as np

import nnx

NETS = {
    "plain": lambda: nnx.MLP((50,), 10),
    "random": lambda: nnx.MLP((50, 30), 10, batch_norm=True, dropout=0.2),
    "pictures": lambda: nnx.Sequential(
        nnx.RandomShift(1), nnx.Convolution(4, 3, pad=1), nnx.BatchNorm(), nnx.ReLU(), nnx.Flatten(), nnx.Affine(10)
    ),
}
BACKENDS = {"plain": "numpy", "random": "numba", "pictures": "numpy"}


def main(shards: int, folder: Path) -> None:
    world = nnx.world()
    train, validation, _ = nnx.datasets.load("digits")
    found = {}
    for name, net in NETS.items():
        x = train.x.reshape(-1, 1, 8, 8) * np.float32(train.scale) if name == "pictures" else train
        data = (x, train.t) if name == "pictures" else (train,)
        more = {} if name == "pictures" else {"validation_data": validation}
        settings = {"backend": BACKENDS[name], "seed": 3, "parallel": world, "shards": shards or None}
        trainer = nnx.Trainer(net(), nnx.Adam(), weight_decay=1e-4, clip_norm=1.0, **settings)
        fitting = {"batch_size": 100, "verbose": False, "checkpoint": folder / name, **more}
        trainer.fit(*data, epochs=2, **fitting)
        trainer = nnx.Trainer.load(folder / name, backend=BACKENDS[name], parallel=world, shards=shards or None)
        history = trainer.fit(*data, epochs=5, **fitting)
        found[name] = {
            "loss": history["loss"],
            "parameters": _checksum(trainer),
            "score": list(trainer.evaluate(*data)),
        }
        (everywhere,) = {tuple(sums) for sums in [world.exchange(found[name]["parameters"])]}
        assert len(set(everywhere)) == 1, "all ranks have the same parameters"
    if world.rank == 0:
        print(json.dumps(found))


def _checksum(trainer: nnx.Trainer) -> int:
    state = trainer.model.state_dict()
    return zlib.crc32(b"".join(state[name].tobytes() for name in sorted(state)))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
