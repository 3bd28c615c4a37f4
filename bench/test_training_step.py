"""The same comparison under pytest-benchmark: `pytest bench --benchmark-group-by=param:network`."""

import itertools

import pytest
from peers.steps import handwritten_step

import nnx
from nnx.bench.networks import NETWORKS, batches, nnx_trainer

USABLE = [status.name for status in nnx.list_backends() if status.usable]


@pytest.mark.parametrize("candidate", ["handwritten", *USABLE])
@pytest.mark.parametrize("network", NETWORKS)
def test_training_step(benchmark, network, candidate):
    net = NETWORKS[network]
    step = handwritten_step(net) if candidate == "handwritten" else nnx_trainer(net, candidate).step
    turns = itertools.cycle(batches(net))
    for _ in range(20):
        step(*next(turns))
    benchmark(lambda: step(*next(turns)))
