"""The thread that reads ahead."""

import threading
from contextlib import closing

import pytest

from nnx.training._read_ahead import read_ahead


def threads() -> int:
    return sum(thread.name == "nnx reads ahead" for thread in threading.enumerate())


def test_jobs_come_in_their_order_in_buffers_by_turns():
    found = [(buffer, result) for buffer, result in read_ahead(range(5), lambda job, b, _: job * 10, "ab")]
    assert found == [("a", 0), ("b", 10), ("a", 20), ("b", 30), ("a", 40)]
    assert threads() == 0


def test_one_buffer_is_filled_while_the_other_is_used():
    filled = threading.Event()

    def read(job, buffer, go_on):
        if job == 1:
            filled.set()
        return job

    with closing(read_ahead(range(2), read, "ab")) as found:
        assert next(found) == ("a", 0)
        assert filled.wait(10)  # though "a" is in use


def test_a_buffer_in_use_is_not_written():
    contents = {"a": None, "b": None}

    def read(job, buffer, go_on):
        contents[buffer] = job

    for job, (buffer, _) in enumerate(read_ahead(range(50), read, "ab")):
        assert contents[buffer] == job


def test_what_the_thread_raises_is_raised_in_its_turn():
    def read(job, buffer, go_on):
        if job == 2:
            raise KeyError("row 7")
        return job

    found = read_ahead(range(9), read, "ab")
    assert [next(found)[1], next(found)[1]] == [0, 1]
    with pytest.raises(KeyError, match="row 7"):
        next(found)
    assert threads() == 0


def test_an_exception_of_the_jobs_is_raised_too():
    def jobs():
        yield 1
        raise ValueError("no more windows")

    with pytest.raises(ValueError, match="no more windows"):
        list(read_ahead(jobs(), lambda job, b, _: job, "ab"))


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_closing_ends_the_thread_in_the_middle_of_a_job(taken):
    def read(job, buffer, go_on):
        while job == 2:
            go_on()  # for ever, if nobody closes
        return job

    with closing(read_ahead(range(9), read, "abc")) as found:
        for _ in range(taken):
            next(found)
        if taken:
            assert threads() == 1
    assert threads() == 0
