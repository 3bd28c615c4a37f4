"""A loop costs the same however deep it is called."""

import sys

import pytest

from nnx._support.room import roomy

resource = pytest.importorskip("resource", reason="Windows counts no faults")

CALLS, DEPTHS = 100, 300


def leaf():
    return None


def faults():
    """How often the system had to give memory during some calls."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(CALLS):
        leaf()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def at(depth):
    return faults() if depth == 0 else at(depth - 1)


def most():
    return max(at(depth) for depth in range(DEPTHS))


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="later versions of Python keep the memory")
def test_at_some_depth_each_call_begins_new_memory():
    assert most() >= CALLS


def test_with_room_none_does():
    assert roomy(most)() < CALLS / 2


def test_it_is_the_same_function_otherwise():
    def named(a, /, b=2, *rest, c, **more):
        """Say what it does."""
        return a, b, rest, c, more

    call = roomy(named)
    assert call(1, c=3) == (1, 2, (), 3, {})
    assert call(1, 4, 5, c=3, d=6) == (1, 4, (5,), 3, {"d": 6})
    assert (call.__name__, call.__doc__) == ("named", "Say what it does.")
    with pytest.raises(ZeroDivisionError):
        roomy(lambda: 1 / 0)()
