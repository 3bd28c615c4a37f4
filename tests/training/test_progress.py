"""The bar of a training: what it shows before the first step, and how fast it says that the training is."""

import pytest

from nnx.training import _progress


@pytest.fixture
def clock(monkeypatch):
    """Provide a clock that tests turn: clock[0] is the time in seconds."""
    now = [100.0]
    monkeypatch.setattr(_progress.time, "perf_counter", lambda: now[0])
    return now


def shown(progress, capsys, rows):
    progress.show(1, rows, 0.5, 0, 1)
    return capsys.readouterr().out.strip().rpartition(", ")[2]


def test_the_rate_leaves_out_the_first_step_which_may_compile(clock, capsys):
    progress = _progress.Progress(enabled=True, epochs=1, first_epoch=0, steps=10, rows=1000)
    clock[0] += 10
    progress.first(100)
    clock[0] += 1
    assert shown(progress, capsys, 600) == "500 rows/s"


def test_the_rate_is_that_of_the_last_seconds(clock, capsys):
    progress = _progress.Progress(enabled=True, epochs=1, first_epoch=0, steps=10, rows=1000)
    progress.first(0)
    for second in range(1, 11):
        clock[0] += 1
        rate = shown(progress, capsys, 100 * second)
    assert rate == "100 rows/s"
    for second in range(1, 5):
        clock[0] += 1
        rate = shown(progress, capsys, 1000 + 1000 * second)
    assert rate == "1,000 rows/s"


class Bar:
    """What a terminal would have shown."""

    def __init__(self):
        self.fields = {}

    def add_task(self, description, **fields):
        self.fields |= fields
        return 0

    def update(self, task, **fields):
        self.fields |= fields


def test_the_bar_shows_no_number_before_there_is_one(monkeypatch, clock):
    bar = Bar()
    monkeypatch.setattr(
        _progress.Lines,
        "__init__",
        lambda self, enabled, *columns, refresh: self.__dict__.update(enabled=True, _bar=bar),
    )
    progress = _progress.Progress(enabled=True, epochs=2, first_epoch=0, steps=10, rows=1000)
    assert (bar.fields["rate"], bar.fields["loss"]) == ("", "first step")
    progress.first(100)
    progress.show(1, 100, 2.4, 0, 1)
    assert (bar.fields["rate"].strip(), bar.fields["loss"]) == ("", "loss 2.4000")
    clock[0] += 0.5
    progress.show(2, 200, 2.3, 0, 2)
    assert (bar.fields["rate"].strip(), bar.fields["loss"]) == ("200 rows/s", "loss 2.3000")
