"""Stages of a recorded step: what runs side by side, what in a chain, and what has to wait."""

import gc

import numpy as np
import pytest

import nnx
from nnx import testing

pytest.importorskip("numba")
from nnx_kernels.cpu import _jit, team
from nnx_numba._jobs import rows_of_part
from nnx_numba._record import Program
from nnx_numba._stages import Job, Touch, stages

BATCH = 100
SHARE = rows_of_part(BATCH)
A, B, C, D = (Touch(k * 1000, k * 1000 + 400, False, True) for k in range(4))


def written(touch, **changes):
    return touch._replace(written=True, **changes)


def whole(touch):
    return touch._replace(split=False)


def job(number, *touches, rows=BATCH, part=0, parts=3):
    """Return a job that a stage shows by its number, in the word of its moves, and its rows, in that of its words."""
    words = np.zeros(team.HEAD, np.int64)
    words[team.MOVES], words[team.PARTS], words[team.PATIENCE] = number, parts, 1

    def divided(share):
        other = words.copy()
        other[team.COUNT], other[team.PARTS] = share, -(-rows // share)
        return other

    return Job(words, list(touches), rows, part, 0, divided)


def shown(jobs):
    """Return the numbers of the jobs: of each stage its chains."""
    return [[[int(words[team.MOVES]) for words in chain] for chain in stage.chains] for stage in stages(jobs, team)]


def test_jobs_on_the_same_rows_are_a_chain():
    assert shown([job(1, A, written(B)), job(2, written(B)), job(3, B, written(C))]) == [[[1, 2, 3]]]


def test_a_chain_has_the_rows_of_the_batch():
    (stage,) = stages([job(1, A, written(B)), job(2, B, written(C)), job(3, C, written(D), rows=5 * BATCH)], team)
    assert [int(words[team.COUNT]) for words in stage.chains[0]] == [SHARE, SHARE, 5 * SHARE]


def test_who_reads_all_rows_waits():
    assert shown([job(1, A, written(B)), job(2, whole(B), written(C))]) == [[[1]], [[2]]]


def test_who_overwrites_what_another_reads_whole_waits():
    jobs = [job(1, A, written(B)), job(2, whole(B), rows=0), job(3, C, written(B))]
    assert shown(jobs) == [[[1]], [[2]], [[3]]]


def test_rows_of_other_widths_are_not_the_same_rows():
    assert shown([job(1, A, written(B)), job(2, B._replace(last=B.last - 40), written(C))]) == [[[1]], [[2]]]


def test_what_waits_for_nobody_comes_first_and_what_nobody_waits_for_runs_beside_others():
    weights, sums = D, Touch(9000, 9040, True, False)
    jobs = [
        job(1, A, written(B)),
        job(2, whole(weights), written(C, split=False), rows=0),  # a transposed matrix of weights
        job(3, whole(B), sums, rows=0),  # a gradient of weights
        job(4, whole(C), written(B)),  # but this overwrites what 3 reads
        job(5, whole(C), written(A)),
    ]
    assert shown(jobs) == [[[1], [2]], [[5], [3]], [[4]]]


def test_sums_keep_their_parts():
    same, other = job(2, B, part=SHARE), job(2, B, part=SHARE + 1)
    assert shown([job(1, written(B)), same]) == [[[1, 2]]]
    assert shown([job(1, written(B)), other]) == [[[1]], [[2]]]


def test_a_stage_has_no_more_parts_than_its_ticket_can_count():
    jobs = [job(k, rows=0, parts=20_000) for k in range(3)]
    assert shown(jobs) == [[[0]], [[1]], [[2]]]


@pytest.mark.skipif(_jit.kernels[0].interpreted, reason="the interpreter records nothing")
@pytest.mark.parametrize("dropout", [pytest.param(False, marks=pytest.mark.slow), True])
def test_a_deep_network_waits_four_times(dropout):
    layers = [layer for _ in range(5) for layer in (nnx.Affine(20), nnx.ReLU(), *[nnx.Dropout(0.2)] * dropout)]
    trainer = nnx.Trainer(nnx.Sequential(*layers, nnx.Affine(3)), nnx.Adam(), backend="numba")
    before = {id(program) for program in programs()}
    x, t = np.ones((BATCH, 7), np.float32), np.zeros(BATCH, int)
    for _ in range(3):
        trainer.step(x, t)
    (program,) = [p for p in programs() if id(p) not in before]
    # Forward, backward, the gradients of the weights, the update.
    assert sum(shared[1] for shared, _ in program.steps) == 4


def programs():
    gc.collect()
    return [found for found in gc.get_objects() if type(found) is Program]


@pytest.mark.long
def test_kernels_write_to_no_argument_that_they_do_not_name(monkeypatch):
    """Jobs are exchanged by what their kernels say that they write to."""
    run, wrong = _jit.Kernel.run, set()

    def watched(kernel, *args):
        kept = {i: a.copy() for i, a in enumerate(args) if isinstance(a, np.ndarray) and i not in kernel.writes}
        result = run(kernel, *args)
        where = [args[i] for i in kernel.writes if isinstance(args[i], np.ndarray)]
        for i, before in kept.items():
            if not any(np.may_share_memory(args[i], a) for a in where) and args[i].tobytes() != before.tobytes():
                wrong.add((kernel.name, i))
        return result

    monkeypatch.setattr(_jit.Kernel, "run", watched)
    report = testing.run(nnx.get_backend("numba"))
    assert report.ok, str(report)
    assert not wrong
