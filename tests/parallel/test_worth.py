"""Whether several ranks are worth it."""

import numpy as np
import pytest

from nnx.parallel import Alone, Timed, Worth


def steps(ranks, step, exchange, count=10):
    worth = Worth(ranks)
    for _ in range(count):
        worth.add(step, exchange)
    return worth.told()


def test_ranks_whose_exchange_costs_more_than_they_save_are_told_so():
    assert steps(3, 5.1e-3, 4.2e-3) == (
        "3 ranks do not pay: a step takes 5.1 ms, 4.2 ms of it for the exchange; one process would take 2.7 ms at most"
    )


def test_nothing_is_said_where_they_may_pay_or_too_little_is_known():
    assert steps(3, 5.1e-3, 3.3e-3) is None
    assert steps(3, 5.1e-3, 4.2e-3, count=4) is None
    assert Worth(2).told() is None
    assert steps(1, 5.1e-3, 4.2e-3) is None


def test_the_seconds_of_exchanges_are_counted(monkeypatch):
    now = [0.0]

    class Slow(Alone):
        def all_to_all(self, send, receive, /):
            now[0] += 2.0
            super().all_to_all(send, receive)

        def broadcast(self, array, /, root=0):
            now[0] += 0.5

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    timed, receive = Timed(Slow()), np.zeros(3)
    timed.all_to_all(np.ones(3), receive)
    timed.all_gather(np.ones(3), receive)
    timed.broadcast(receive)
    assert timed.seconds == pytest.approx(2.5)
    assert receive.tolist() == [1, 1, 1]
