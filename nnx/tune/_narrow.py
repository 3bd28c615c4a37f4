"""How the ranges are narrowed around the best trials, and why: the same rule for every process that shares a search.

The rule for a numeric range, in the coordinates of its scale (decades, if it is logarithmic):

    new range = span of the best trials, with `MARGIN` of the old width on either side, within the old range

If that is more than `KEEP` of the old width, the new range is the stretch of `KEEP` of the old width that holds the
most of the best trials. A choice loses the values that none of the best trials has. The best trials are the first third
of those so far that lie in the present ranges and did not fail.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ._settings import Settings
from ._space import Choice, Interval, Range, Value, from_json, inside, short
from ._trial import Trial, ranked

BEST = 3
"""One in `BEST` trials is among the best."""
MARGIN = 0.1
KEEP = 0.75
ENOUGH = 2.0
"""A logarithmic range whose ends differ by no more than this factor is narrow enough."""
ENOUGH_LINEAR = 0.05
"""A linear range of no more than this share of its first width is narrow enough."""


@dataclass(frozen=True)
class Narrowing:
    """What became of one range after a round.

    Args:
        name: The parameter's name.
        old: Its range during the round.
        new: Its range after the round.
        why: The reason, for people to read.
    """

    name: str
    old: Range
    new: Range
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.old} -> {self.new}: {self.why}"

    def to_json(self) -> dict[str, Any]:
        """Return the narrowing as a study stores it."""
        return {"name": self.name, "old": self.old.to_json(), "new": self.new.to_json(), "why": self.why}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Narrowing":
        """Read what `to_json` returned."""
        old, new = from_json(entry["old"]), from_json(entry["new"])
        return cls(entry["name"], old, new, entry["why"])  # type: ignore[arg-type]


def count_best(tried: int) -> int:
    """Return how many of `tried` trials count as the best: a third of them, rounded up, but two if there are two."""
    return min(tried, max(2, math.ceil(tried / BEST)))


def narrow(name: str, old: Range, best: Sequence[Value]) -> Narrowing:
    """Narrow one range around the values of the best trials.

    Args:
        name: The parameter's name.
        old: Its range so far.
        best: The parameter's values in the best trials, the best trial first; at least one.

    Returns:
        The old and the new range, and the reason. The rule is at the head of this module and in docs/tune.md.
    """
    if isinstance(old, Choice):
        return _narrow_choice(name, old, best)
    return _narrow_interval(name, old, best)


def _narrow_choice(name: str, old: Choice, best: Sequence[Value]) -> Narrowing:
    kept = [value for value in old.values if value in best]
    lost = [value for value in old.values if value not in best]
    if old.single:
        why = "it is the only value"
    elif lost:
        why = f"none of the best {len(best)} has {', '.join(map(short, lost))}"
    else:
        why = f"each is among the best {len(best)}"
    return Narrowing(name, old, Choice(*kept), why)


def _narrow_interval(name: str, old: Interval, best: Sequence[Any]) -> Narrowing:
    places = [old.coordinate(value) for value in best]
    span = f"the best {len(best)} lie in {short(min(best))} .. {short(max(best))}"
    margin, least, most = MARGIN * old.width, old.coordinate(old.low), old.coordinate(old.high)
    low, high = max(least, min(places) - margin), min(most, max(places) + margin)
    if high - low > KEEP * old.width:
        low, high, count = _fullest(places, low, high, KEEP * old.width, margin)
        span += f", {count} of them in this {KEEP:.0%} of the range"
    new = _whole(old, low, high, best[0]) if old.whole else _between(old, low, high)
    if old.single:
        span = "it is the only value"
    return Narrowing(name, old, new, span)  # type: ignore[arg-type]


def _fullest(places: Sequence[float], low: float, high: float, width: float, margin: float) -> tuple[float, float, int]:
    """Find the stretch of a width within low..high that holds the most places; of equals, the one with better ranks.

    Return its two ends and the number of places in it.
    """
    starts = [place - margin for place in places] + [place + margin - width for place in places]
    stretches = []
    for start in starts:
        start = min(max(start, low), high - width)  # noqa: PLW2901
        ranks = [rank for rank, place in enumerate(places) if start <= place <= start + width]
        stretches.append((-len(ranks), sum(ranks), start))
    count, _, start = min(stretches)
    return start, start + width, -count


def _between(old: Interval, low: float, high: float) -> Interval:
    """Return the interval between two coordinates, never beyond the old range, whatever the rounding."""
    first, last = (min(max(float(old.low), old.value(end)), float(old.high)) for end in (low, high))
    return type(old)(first, last)


def _whole(old: Interval, low: float, high: float, best: int) -> Interval:
    """Return the interval of whole numbers between two coordinates; if there are none, of the best trial's value."""
    first, last = math.ceil(old.value(low) - 1e-9), math.floor(old.value(high) + 1e-9)
    if first > last:
        first = last = best
    return type(old)(max(int(old.low), first), min(int(old.high), last))


def narrow_enough(first: Range, now: Range) -> bool:
    """Return whether a range that began as `first` needs no further round."""
    if isinstance(now, Choice) or isinstance(first, Choice) or now.single:
        return now.single
    if now.scale == "log":
        return now.high <= ENOUGH * now.low
    return now.width <= ENOUGH_LINEAR * first.width


def narrow_all(ranges: Mapping[str, Range], trials: Sequence[Trial], metric: str) -> tuple[Narrowing, ...]:
    """Narrow every range after a round, by all trials so far.

    If no trial in the ranges is complete, they stay as they are.
    """
    tried = [trial for trial in trials if trial.state != "failed" and inside(ranges, trial.params)]
    best = ranked(tried, metric)[: count_best(len(tried))]
    if not best:
        return tuple(Narrowing(name, old, old, "no trial could be trained to its end") for name, old in ranges.items())
    return tuple(narrow(name, old, [trial.params[name] for trial in best]) for name, old in ranges.items())


def ends_after(settings: Settings, number: int, narrowings: Sequence[Narrowing]) -> bool:
    """Return whether a search ends after a round.

    It does after the last round, when all ranges are narrow enough, and when none became narrower.
    """
    first = settings.space.ranges
    enough = all(narrow_enough(first[each.name], each.new) for each in narrowings)
    return number == settings.rounds or enough or all(each.new == each.old for each in narrowings)
