"""The model of what ranks pay to exchange a gradient, and its measurement."""

from pathlib import Path

import pytest

from nnx.parallel._interconnect import Interconnect, measure
from nnx.parallel.probe import report


def test_an_exchange_is_two_collectives_of_all_slices_but_ones_own():
    slow = Interconnect(latency=1e-3, bandwidth=1e6)
    assert slow.exchange(2, 4_000_000) == pytest.approx(2 * (1e-3 + 2.0))
    assert slow.exchange(4, 4_000_000) == pytest.approx(2 * (3e-3 + 3.0))


@pytest.mark.parametrize("ranks", [2, 3, 8])
def test_ranks_pay_from_the_step_at_which_they_are_as_fast_as_one(ranks):
    found = Interconnect(latency=2e-5, bandwidth=3e9)
    step = found.pays_from(ranks, 500_000)
    assert step / ranks + found.exchange(ranks, 500_000) == pytest.approx(step)


class Clocked:
    """A communicator whose methods take the time that the model says, by a clock of its own."""

    def __init__(self, rank, size, latency, bandwidth):
        self.rank, self.size, self.latency, self.bandwidth = rank, size, latency, bandwidth
        self.now = 0.0

    def _take(self, slice_):
        self.now += (self.size - 1) * (self.latency + slice_ / self.bandwidth)

    def all_to_all(self, send, receive):
        assert send.size % self.size == 0
        assert send.shape == receive.shape
        self._take(send.nbytes / self.size)

    def all_gather(self, send, receive):
        assert receive.size == send.size * self.size
        self._take(send.nbytes)

    def exchange(self, value):
        self.now += 0.5  # not counted
        return [value] * self.size


@pytest.mark.parametrize(("ranks", "latency", "bandwidth"), [(2, 1e-5, 1e9), (3, 2e-4, 1e8), (7, 1e-6, 2e10)])
def test_what_is_measured_is_what_lies_between_the_ranks(monkeypatch, ranks, latency, bandwidth):
    wire = Clocked(0, ranks, latency, bandwidth)
    monkeypatch.setattr("time.perf_counter", lambda: wire.now)
    found = measure(wire)
    assert found.latency == pytest.approx(latency, rel=1e-6)
    assert found.bandwidth == pytest.approx(bandwidth, rel=1e-6)


def test_a_report_tells_for_which_networks_ranks_pay():
    assert report(4, Interconnect(latency=5e-5, bandwidth=1.25e8)).splitlines() == [
        "4 ranks: 50 microseconds a message, 0.125 GB/s a rank",
        "",
        "parameters    exchange of a step    faster where a step of one process takes more than",
        "     10,000             0.780 ms             1.040 ms",
        "    100,000             5.100 ms             6.800 ms",
        "  1,000,000            48.300 ms            64.400 ms",
        " 10,000,000           480.300 ms           640.400 ms",
        "100,000,000          4800.300 ms          6400.400 ms",
    ]


def test_the_page_says_what_the_model_says():
    page = (Path(__file__).parents[2] / "docs" / "scale.md").read_text(encoding="utf-8")
    networks = [row for row in page.splitlines() if row.startswith(("| S:", "| L:", "| M:", "| X:"))]
    assert len(networks) == 4
    for row in networks:
        _, parameters, step, *cells = (cell.strip() for cell in row.strip("|").split("|"))
        size, alone = 4 * int(parameters.replace(",", "")), float(step.removesuffix(" ms"))
        for cell, latency, bandwidth in zip(cells, (50e-6, 20e-6, 10e-6), (0.125e9, 3.1e9, 450e9), strict=True):
            exchange, _, faster = cell.partition(" ms")
            expected = Interconnect(latency, bandwidth).exchange(4, size) * 1e3
            assert float(exchange) == pytest.approx(expected, rel=0.03), row
            if faster:
                assert float(faster.strip(": ")) == pytest.approx(
                    alone / (alone / 4 + expected), rel=0.05, abs=0.006
                ), row
