"""The kit as a list of checks, and its run without pytest."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from time import perf_counter

from .._support.console import counted
from ..errors import unknown
from ..ops import Backend, Explanation, Ops, spec
from . import _members, _narrow, training
from ._case import FLOATS, SUMS
from ._cases import CASES
from ._checks import check_case
from ._failure import is_verdict, place
from ._gradients import PROBLEMS, check_gradients


@dataclass(frozen=True)
class Check:
    """One thing to check: `run(ops)` raises AssertionError if it fails.

    Args:
        op: an operation, "required" for the required members, or "training" for whole trainings.
        id: its name within the operation, such as "float32-odd-sizes".
        run: the check.
    """

    op: str
    id: str
    run: Callable[[Ops], None]

    @property
    def name(self) -> str:
        return f"{self.op}[{self.id}]"


def checks(ops: Iterable[str] | None = None) -> Iterator[Check]:
    """Return all checks, or those of the named operations.

    Args:
        ops: names of operations, "required" and "training" among them; None: all.

    Raises:
        InputError: a name is unknown.
    """
    wanted = None if ops is None else set(ops)
    known = ("required", "training", *spec.OPERATIONS)
    for name in wanted or ():
        if name not in known:
            raise unknown("operation", name, known)
    return (check for check in _all() if wanted is None or check.op in wanted)


def _all() -> Iterator[Check]:
    yield Check("required", "descriptions", _members.descriptions)
    for name, (check, dtypes) in _members.REQUIRED.items():
        for dtype in dtypes:
            yield Check("required", f"{dtype}-{name}", _bound(check, dtype))
    for case in CASES:
        for dtype in case.dtypes:
            yield Check(case.op, f"{dtype}-{case.id}", _bound(check_case, case, dtype))
    for op, name, problem in PROBLEMS:
        yield Check(op, f"float64-{name}numerical-gradient", _bound(check_gradients, op, problem))
    for dtype in FLOATS:
        yield Check("capture", f"{dtype}-step", _bound(_members.capture, dtype))
        yield Check("capture", f"{dtype}-several", _bound(_members.capture_several, dtype))
    for precision in _narrow.PRECISIONS:
        yield Check("narrow", f"{precision}-rounding", _bound(_narrow.rounding, precision))
        yield Check("narrow", f"{precision}-products", _bound(_narrow.products, precision))
    for dtype in FLOATS:
        for name, check in training.CHECKS.items():
            yield Check("training", f"{dtype}-{name}", _bound(check, dtype))


def _bound(check: Callable[..., None], *args: object) -> Callable[[Ops], None]:
    return lambda ops: check(ops, *args)


@dataclass(frozen=True)
class Result:
    """The outcome of one check.

    Args:
        check: the check.
        error: None, or what is wrong.
        seconds: how long it took.
    """

    check: Check
    error: str | None
    seconds: float


@dataclass(frozen=True)
class Report:
    """The outcome of the kit on one backend.

    Args:
        explanation: which operations the backend has itself, and which it declined.
        results: one for each check.
    """

    explanation: Explanation
    results: tuple[Result, ...]

    @property
    def failures(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.error is not None)

    @property
    def ok(self) -> bool:
        """Whether everything passed."""
        return not self.failures

    def summary(self) -> str:
        """Describe what the backend does itself, what it declined, and where the time went."""
        how = self.explanation
        declined = sum(how.declined.values())
        lines = [
            f"nnx conformance: backend {how.backend}: {counted(len(how.fused), 'operation')} fused, "
            f"{len(how.composed)} composed, {declined} declined calls"
        ]
        if not how.fused:
            verb = "passed" if self.ok else "ran"
            lines.append(f"It has no operation of its own: everything {verb} by falling back to the compositions.")
        lines += [f"  {note}" for note in how.notes()]
        lines += [f"  declined {times} times: {op}" for op, times in how.declined.items()]
        seconds: dict[str, list[float]] = {}
        for result in self.results:
            seconds.setdefault(result.check.op, []).append(result.seconds)
        slowest = sorted(seconds, key=lambda op: -sum(seconds[op]))[:5]
        times = (f"{op} {sum(seconds[op]):.2f} s in {len(seconds[op])} checks" for op in slowest)
        lines.append("slowest: " + ", ".join(times))
        return "\n".join(lines)

    def __str__(self) -> str:
        failed = [f"FAILED {result.check.name}\n    {result.error}" for result in self.failures]
        counts = f"{len(self.results) - len(failed)} checks passed, {len(failed)} failed"
        return "\n".join([*failed, self.summary(), counts])


def run(backend: Backend, ops: Iterable[str] | None = None) -> Report:
    """Run the kit on a backend.

    Args:
        backend: an instance.
        ops: names of operations, to run their checks alone; "required" are the members, "training" a whole network.
            None: everything.

    Returns:
        The outcome of every check: a failure is in the report and does not raise.

    Raises:
        InputError: a name is unknown.

    >>> from nnx_numpy import NumpyBackend
    >>> run(NumpyBackend(), ["softmax"]).ok
    True
    """
    bound = Ops(backend)
    results = []
    for check in checks(ops):
        start = perf_counter()
        error = None
        try:
            check.run(bound)
        except Exception as failure:
            where = f"{check.name}: {type(failure).__name__}: {failure} ({place(failure, backend)})"
            error = str(failure) if is_verdict(failure) else where
        results.append(Result(check, error, perf_counter() - start))
    return Report(bound.explain(), tuple(results))


def tolerances() -> str:
    """Return the Markdown table of docs/conformance.md: the checks of each operation and its tolerances."""
    rows = ["| operation | cases | float32 | float64 |", "| --- | ---: | --- | --- |"]
    for op in spec.OPERATIONS:
        own = [case for case in CASES if case.op == op]
        columns = []
        for dtype in FLOATS:
            groups: dict[float, list[str]] = {}
            for case in own:
                name = case.id if case.formula is None else case.id.removeprefix(f"{case.formula.name}-")
                groups.setdefault(case.allowed(dtype), []).append(name)
            usual = max(
                groups, key=lambda t: len(groups[t]), default=SUMS[dtype == "float64"]
            )  # capture and narrow have no rows
            others = {t: dict.fromkeys(ids) for t, ids in groups.items() if t != usual}
            rest = "".join(f"; {', '.join(ids)}: {_shown(t)}" for t, ids in others.items())
            columns.append(_shown(usual) + rest)
        rows.append(f"| `{op}` | {len(own) or 1} | {' | '.join(columns)} |")
    return "\n".join(rows) + "\n"


def _shown(tolerance: float) -> str:
    return f"{tolerance:.0e}" if tolerance else "exact"
