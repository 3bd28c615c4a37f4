"""The order of the rows: by seed and epoch alone, in windows of blocks."""

import numpy as np
import pytest

from nnx.training import Order

EDGES = np.array([0, 4, 8, 12, 16, 20, 22])
ROWS = 22


def windowed(window: int = 9, seed: int = 3, shuffle: bool = True) -> Order:
    return Order(ROWS, seed, shuffle=shuffle, blocks=EDGES, window=window)


def test_in_memory_it_is_the_generators_shuffle():
    expected = np.arange(50)
    np.random.default_rng((7, 1, 4)).shuffle(expected)
    assert np.array_equal(Order(50, 7).rows(4, 0, 50), expected)


@pytest.mark.parametrize("window", [1, 4, 9, 21])
def test_every_epoch_has_every_row_once_and_an_order_of_its_own(window):
    first, second = (windowed(window).rows(epoch, 0, ROWS) for epoch in (0, 1))
    assert sorted(first) == sorted(second) == list(range(ROWS))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, windowed(window, seed=4).rows(0, 0, ROWS))


def test_a_window_that_holds_all_rows_gives_the_order_of_memory():
    assert np.array_equal(windowed(ROWS).rows(2, 0, ROWS), Order(ROWS, 3).rows(2, 0, ROWS))


def test_a_window_has_whole_blocks_shuffled_row_by_row():
    for window in windowed().windows(0):
        edges = [tuple(block) for block in window.blocks.tolist()]
        assert set(edges) <= set(zip(EDGES[:-1].tolist(), EDGES[1:].tolist(), strict=True))
        assert sum(end - begin for begin, end in edges) == len(window.rows) <= 9
        stored = np.concatenate([np.arange(begin, end) for begin, end in edges])
        assert np.array_equal(stored[window.places], window.rows)
    blocks_met = [row // 4 for row in windowed(20).rows(0, 0, 20)]
    assert len(set(np.flatnonzero(np.diff(blocks_met)))) > 8  # neighbours in training are of different blocks


def test_a_block_beyond_the_window_comes_alone():
    sizes = [len(window.rows) for window in windowed(window=2).windows(0)]
    assert sorted(sizes) == [2, 4, 4, 4, 4, 4]
    assert windowed(window=2).most == 4


def test_any_part_of_an_epoch_is_had_without_those_before():
    whole = windowed().rows(5, 0, ROWS)
    for start in range(ROWS):
        for stop in range(start + 1, ROWS + 1):
            assert np.array_equal(windowed().rows(5, start, stop), whole[start:stop])
    assert next(window.first for window in windowed().windows(5, 9)) <= 9


def test_without_shuffling_rows_come_as_they_are_stored():
    assert windowed(shuffle=False).rows(1, 0, ROWS).tolist() == list(range(ROWS))
    assert len(list(windowed(shuffle=False).windows(1))) == 3
