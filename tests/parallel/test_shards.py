"""How rows are divided, gathered, and what one rank does for all."""

import numpy as np
import pytest
from ranks import together

import nnx
from nnx.parallel import Alone, Shards, gathered, on_first, share_of


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 100])
def test_shards_are_neighbouring_rows_of_which_none_has_two_more_than_another(n, count):
    cuts = Shards(Alone(), count).cut(n)
    assert [row for start, stop in cuts for row in range(start, stop)] == list(range(n))
    sizes = [stop - start for start, stop in cuts]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1


def test_ranks_have_neighbouring_shards_one_after_the_other():
    rows = together(3, lambda c: Shards(c, 6).rows(10))
    assert rows == [slice(0, 4), slice(4, 8), slice(8, 10)]


@pytest.mark.parametrize("n", [1, 255, 256, 257, 2000])
def test_shares_of_rows_begin_at_whole_runs_and_are_gathered_in_their_order(n):
    rows = np.arange(3 * n, dtype=np.int64).reshape(n, 3)

    def work(communicator):
        own = share_of(communicator, n, 256)
        assert own.start % 256 == 0 or own.start == n
        return gathered(communicator, rows[own])

    for whole in together(4, work):
        np.testing.assert_array_equal(whole, rows)


def test_nobodys_rows_are_none():
    assert together(2, lambda c: gathered(c, np.empty((0, 3))).shape) == [(0, 3)] * 2
    assert together(2, lambda c: gathered(c, np.empty((1 + c.rank, 0))).shape) == [(3, 0)] * 2


def test_what_rank_0_does_is_known_to_all():
    done = []

    def work(communicator):
        return on_first(communicator, lambda: done.append(communicator.rank) or "runs/digits")

    assert together(3, work) == ["runs/digits"] * 3
    assert done == [0]


@pytest.mark.parametrize("kind", [nnx.CheckpointError, nnx.InputError])
def test_what_rank_0_fails_with_is_raised_by_all(kind):
    def fail():
        raise kind("the disk is full")

    def work(communicator):
        with pytest.raises(kind, match="the disk is full"):
            on_first(communicator, fail)

    together(3, work)
