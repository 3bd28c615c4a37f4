"""Ranges, and how they are narrowed: what holds for any trials."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nnx
from nnx.tune import Choice, Linear, Log, Space, narrow
from nnx.tune._narrow import KEEP, count_best, narrow_enough
from nnx.tune._space import from_json

ANY = settings(max_examples=100, deadline=None, derandomize=True)


@st.composite
def intervals(draw):
    kind = draw(st.sampled_from([Linear, Log]))
    whole = draw(st.booleans())
    if whole:
        low = draw(st.integers(1, 1000))
        return kind(low, low + draw(st.integers(1, 1000)))
    low = draw(st.floats(1e-9, 1e3))
    return kind(low, low * (1 + draw(st.floats(1e-3, 1e6))))


def draw_values(draw, interval, count):
    shares = draw(st.lists(st.floats(0, 1), min_size=count, max_size=count))
    low, high = interval.coordinate(interval.low), interval.coordinate(interval.high)
    values = [min(max(interval.value(low + share * (high - low)), interval.low), interval.high) for share in shares]
    return [round(value) for value in values] if interval.whole else values


@ANY
@given(st.data())
def test_intervals_shrink_and_stay_within(data):
    old = data.draw(intervals())
    best = draw_values(data.draw, old, data.draw(st.integers(1, 9)))
    new = narrow("p", old, best).new
    assert type(new) is type(old)
    assert new.whole == old.whole
    assert old.low <= new.low <= new.high <= old.high
    assert new.width <= KEEP * old.width * (1 + 1e-6) + 1e-12
    assert any(value in new for value in best)
    if not new.whole and max(map(old.coordinate, best)) - min(map(old.coordinate, best)) < 0.5 * old.width:
        assert all(value in new for value in best)


@pytest.mark.slow
@ANY
@given(st.data())
def test_intervals_shrink_again_and_again(data):
    first = now = data.draw(intervals())
    for _ in range(12):
        before, now = now, narrow("p", now, draw_values(data.draw, now, 3)).new
        assert now.single or now.width <= 0.751 * before.width
    assert narrow_enough(first, now) or first.scale == "log"  # of twelve decades twelve rounds leave more than a half


@ANY
@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.integers(6, 9))
def test_choices_lose_what_no_best_trial_has(best, count):
    new = narrow("p", Choice(*range(count)), best).new
    assert set(new.values) == set(best)
    assert list(new.values) == sorted(new.values)


def test_the_rule_in_numbers():
    narrowing = narrow("lr", Log(1e-6, 1e-2), [1e-4, 1e-3])
    assert (narrowing.new.low, narrowing.new.high) == pytest.approx((10**-4.4, 10**-2.6))
    assert str(narrowing) == "lr: Log(1e-06, 0.01) -> Log(3.98e-05, 0.00251): the best 2 lie in 0.0001 .. 0.001"
    # More than three quarters: the stretch that holds the most, and of several such the one with the better.
    narrowing = narrow("x", Linear(0.0, 10.0), [1.0, 9.0, 1.5, 2.0])
    assert narrowing.new == Linear(0.0, 7.5)
    assert narrowing.why == "the best 4 lie in 1 .. 9, 3 of them in this 75% of the range"
    assert narrow("x", Linear(0.0, 10.0), [9.0, 1.0]).new == Linear(2.5, 10.0)
    assert narrow("n", Linear(1, 2), [2, 1, 2]).new == Linear(2, 2)
    narrowing = narrow("o", Choice("adam", "sgd", (1, 2)), ["sgd", "sgd"])
    assert str(narrowing) == "o: Choice('adam', 'sgd', (1, 2)) -> Choice('sgd'): none of the best 2 has adam, 1,2"
    assert narrow("o", Choice("a", "b"), ["b", "a"]).why == "each is among the best 2"
    assert [count_best(n) for n in (1, 2, 3, 6, 7, 20)] == [1, 2, 2, 2, 3, 7]


def test_narrow_enough():
    assert narrow_enough(Log(1e-6, 1.0), Log(1e-3, 2e-3))
    assert not narrow_enough(Log(1e-6, 1.0), Log(1e-3, 2.1e-3))
    assert narrow_enough(Linear(0.0, 1.0), Linear(0.5, 0.54))
    assert not narrow_enough(Linear(0.0, 1.0), Linear(0.5, 0.56))
    assert narrow_enough(Choice(1, 2), Choice(2))
    assert not narrow_enough(Choice(1, 2), Choice(1, 2))
    assert narrow_enough(Log(10, 1000), Log(100, 100))


@ANY
@given(intervals())
def test_ranges_survive_json(interval):
    assert from_json(json.loads(json.dumps(interval.to_json()))) == interval


def test_ranges():
    assert Linear(1, 8).whole
    assert not Linear(1.0, 8).whole
    assert Linear(0, 0.5) == Linear(0.0, 0.5)
    assert 4 in Linear(1, 8)
    assert 9 not in Linear(1, 8)
    assert Log(1e-3, 1.0).width == pytest.approx(3)
    choice = Choice("adam", 1, 0.5, True, None, (100, 100), [1, 2])
    assert choice.values[-1] == (1, 2)
    assert from_json(json.loads(json.dumps(choice.to_json()))) == choice
    assert str(Choice((1, 2), None)) == "Choice((1, 2), None)"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Log(0, 1.0), "Log(0, 1): a logarithmic scale has no 0; expected numbers greater than 0, such as"),
        (lambda: Log(-1.0, 1.0), "a logarithmic scale has no -1"),
        (lambda: Log(-2.0, -1.0), "such as Log(1e-06, 0.01), or Linear"),
        (lambda: Linear(0.5, 0.0), "Linear(0.5, 0): is reversed; expected Linear(0.0, 0.5)"),
        (lambda: Linear(0, math.nan), "Linear(0, nan): got nan, expected two finite numbers"),
        (lambda: Linear(0, 10**400), "expected two finite numbers"),
        (lambda: Log("a", 1), "Log(a, 1): got 'a', expected two numbers"),
        (lambda: Linear(False, True), "got False, expected two numbers"),
        (Choice, "Choice(): is empty; expected values to choose from"),
        (lambda: Choice("a", "a"), "got 'a' twice"),
        (lambda: Choice(nnx.Adam), "expected text, a number, True, False, None or a tuple"),
        (lambda: Choice(math.inf), "Choice: got inf, expected a finite number"),
        (lambda: Space.of({}), "space: there is nothing to search; expected a range"),
        (lambda: Space.of({"lr": 0.1}), "space: there is nothing to search"),
        (lambda: Space.of({"lr": Choice(0.1)}), "space: there is nothing to search"),
        (lambda: Space.of({"lr": Linear(1.0, 1.0)}), "lr: Linear(1, 1) is empty; expected low < high, or 1.0 itself"),
        (lambda: Space.of([Linear(0, 1)]), "space: got [Linear(low=0, high=1)], expected ranges by the names"),
        (lambda: Space.of({1: Linear(0, 1)}), "expected ranges by the names"),
        (lambda: Space.of({"lr": Log(1e-3, 1), "f": print}), "f: got <built-in function print>, expected text"),
    ],
)
def test_bad_ranges(make, message):
    with pytest.raises(nnx.NnxError) as error:
        make()
    assert message in str(error.value)
