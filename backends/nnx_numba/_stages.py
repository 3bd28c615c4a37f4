"""Stages: which jobs of a step are done side by side, and which in a chain.

A job waits for those before it that write what it touches, or touch what it writes. In a chain it waits for them in its
own rows of the batch alone: one thread does one job after the other for the same rows, which stay in its cache.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ._jobs import rows_of_part

Array = np.ndarray[Any, Any]

_MOST_PARTS = 2**15
"""Parts of a stage, at most: their numbers have 16 bits."""
_SOON = 5_000_000
"""Multiplications of a tenth of a millisecond: a part of no more is short."""


class Touch(NamedTuple):
    """Memory that a job reads or writes."""

    first: int
    last: int
    """The bytes from `first` on, up to but without `last`."""
    written: bool
    split: bool
    """Whether a part of the job touches its own rows of it alone."""


class Job(NamedTuple):
    """A call that is written down, what it touches, and how to write it down in other parts."""

    words: Array
    touches: list[Touch]
    rows: int = 0
    """How many rows its parts are of; 0 where they are of something else, or too much for one thread."""
    part: int = 0
    """The rows of a part, where others would make other sums; else 0."""
    work: int = 0
    """Its multiplications, where they are many."""
    divided: Callable[[int], Array] | None = None
    """Write it down in parts of so many rows."""


class Stage(NamedTuple):
    """Chains that are worked at side by side."""

    chains: list[list[Array]]
    """Jobs, of as many parts each."""
    patience: int = 1
    """How many times as long as for short parts it is right to wait for the last one."""


def stages(jobs: list[Job], team: Any) -> list[Stage]:
    """Return stages that do the same as the jobs in their order.

    Args:
        jobs: some that nothing else is done between.
        team: nnx_kernels.cpu.team.
    """
    count = Counter(job.rows for job in jobs if job.rows)
    batch = max(count, key=lambda n: (count[n], -n), default=1)
    share = rows_of_part(batch)
    chained: dict[int, list[Job]] = {}
    others: dict[int, list[Job]] = {}
    for job, (stage, joins) in zip(jobs, _ranks(jobs, batch, share), strict=True):
        (chained if joins else others).setdefault(stage, []).append(job)
    result = []
    for stage in sorted(chained.keys() | others.keys()):
        chain, single = chained.get(stage, []), [[job.words] for job in others.get(stage, [])]
        patience = max([1, *(int(words[team.PATIENCE]) for (words,) in single)])
        if chain:
            single.insert(0, [job.divided(share * (job.rows // batch)) for job in chain])
            patience = max(patience, 1 + sum(job.work for job in chain) * share // batch // _SOON)
        result += [Stage(chains, patience) for chains in _few_parts(single, team)]
    return result


def _ranks(jobs: list[Job], batch: int, share: int) -> list[tuple[int, bool]]:
    """Return the earliest stage of each job, and whether it is one of the chain in it, in parts of so many rows."""
    most = sum(len(job.touches) for job in jobs)
    first, last, stage = (np.empty(most, np.int64) for _ in range(3))
    written, split = np.empty(most, bool), np.empty(most, bool)
    known, result = 0, []
    for job in jobs:
        times, rest = divmod(job.rows, batch)
        joins = times > 0 and not rest and job.part in (0, share * times)
        rank = 0
        for touch in job.touches:
            near = (first[:known] < touch.last) & (last[:known] > touch.first)
            if not touch.written:
                near &= written[:known]
            places = np.flatnonzero(near)
            if places.size:
                own = split[places] & (first[places] == touch.first) & (last[places] == touch.last)
                rank = max(rank, int((stage[places] + ~(own & (joins and touch.split))).max()))
        for touch in job.touches:
            first[known], last[known], written[known], split[known] = (*touch[:3], touch.split and joins)
            stage[known] = rank
            known += 1
        result.append((rank, joins))
    return result


def _few_parts(chains: list[list[Array]], team: Any) -> list[list[list[Array]]]:
    """Divide chains that would have too many parts for one stage."""
    result: list[list[list[Array]]] = []
    left = 0
    for chain in chains:
        parts = int(chain[0][team.PARTS])
        if parts > left:
            result.append([])
            left = _MOST_PARTS
        result[-1].append(chain)
        left -= parts
    return result


def laid_out(every: list[Stage], team: Any) -> tuple[Array, Array]:
    """Write stages down; return the memory that they are in, and where in it each one is."""
    size = sum(team.HEAD + sum(2 + sum(1 + len(job) for job in chain) for chain in stage.chains) for stage in every)
    memory, place = np.empty(size, np.int64), 0

    def put(words: Any) -> int:
        nonlocal place
        memory[place : place + len(words)] = words
        place += len(words)
        return int(memory.ctypes.data) + 8 * (place - len(words))

    table = []
    for chains, patience in every:
        at = [[put(job) for job in chain] for chain in chains]
        if len(at) == len(at[0]) == 1:
            table.append(at[0][0])
            continue
        parts = [int(chain[0][team.PARTS]) for chain in chains]
        head = {team.COUNT: len(chains), team.PARTS: sum(parts), team.ACROSS: 1, team.PATIENCE: patience}
        of_chains = [word for p, jobs in zip(parts, at, strict=True) for word in (p, len(jobs), *jobs)]
        table.append(put([*(head.get(i, 0) for i in range(team.HEAD)), *of_chains]))
    return memory, np.array(table, np.int64)
