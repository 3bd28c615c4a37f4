"""`nnx.tune.search`: what it keeps, what it refuses, and that it goes on after whatever ended it."""

import csv
import json
import os
import signal
import sqlite3
import sys
import urllib.parse
from contextlib import closing
from dataclasses import replace

import numpy as np
import optuna
import pytest
from blob_searches import SPACE, data, facts, search, start, trained
from PIL import Image

import nnx
from nnx import tune
from nnx._support import plots as plotting
from nnx.tune import Choice, Linear, Log, _queue, _storage
from nnx.tune._choose import as_good, choose
from nnx.tune._settings import check_settings

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True, scope="module")
def _without_figures():
    """They are drawn by one test; in the others they would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plotting, "available", lambda: False)
        yield


@pytest.fixture(scope="module")
def study(tmp_path_factory, _without_figures):
    return search(tmp_path_factory.mktemp("study"))


def test_a_search(study):
    assert study.finished
    assert [trial.number for trial in study.trials] == list(range(1, 11))
    assert [trial.round for trial in study.trials] == [1] * 5 + [2] * 5
    first, second = study.rounds
    assert first.ranges == {name: SPACE[name] for name in ("lr", "optimizer")}
    assert second.ranges == {each.name: each.new for each in first.narrowings}
    for each, trial in [(study.rounds[trial.round - 1], trial) for trial in study.trials]:
        assert all(trial.params[name] in span for name, span in each.ranges.items())
        assert trial.params["hidden"] == (8,)
        assert trial.score == trial.history["val_accuracy"][-1]
        assert len(trial.history["loss"]) == 2
        assert trial.backend == "numpy"
    keys = [(-trial.score, trial.loss) for trial in study.ranked]
    assert keys == sorted(keys)
    assert study.best in study.ranked
    assert "10 trials in 2 rounds; the best:" in str(study)


def test_the_same_seed_gives_the_same_search_and_another_another(study, tmp_path):
    assert facts(search(tmp_path / "again")) == facts(study)
    other = search(tmp_path / "other", seed=1, rounds=1)
    assert {t.params["lr"] for t in other.trials}.isdisjoint(t.params["lr"] for t in study.trials)


def test_a_search_that_is_over_trains_nothing_more(study, monkeypatch):
    monkeypatch.setattr(nnx.Trainer, "fit", lambda *a, **k: pytest.fail("trained"))
    assert facts(search(study.folder)) == facts(study)


def test_a_trial_is_repeated_bit_for_bit(study):
    trainer = study.repeat(3)
    assert trainer.history == study.trial(3).history
    assert trainer.optimizer.lr == study.trial(3).params["lr"]


def test_the_test_part_is_put_aside_and_evaluated_once(tmp_path, monkeypatch):
    seen, given, fit = [], data(), nnx.Trainer.fit
    rest, test = given.split(0.8, 0.2, seed=0)

    def spy(self, x, *args, validation_data, **keywords):
        seen.extend([x.x, validation_data.x])
        return fit(self, x, *args, validation_data=validation_data, **keywords)

    monkeypatch.setattr(nnx.Trainer, "fit", spy)
    study = search(tmp_path, given=given)
    shown = {row.tobytes() for x in seen for row in x}
    assert shown == {row.tobytes() for row in rest.x}
    assert shown.isdisjoint(row.tobytes() for row in test.x)

    result = study.evaluate_test()
    trainer = study.repeat(study.best.number)
    assert result == dict(zip(("loss", "accuracy"), trainer.evaluate(test), strict=True))
    monkeypatch.setattr(nnx.Trainer, "evaluate", lambda *a: pytest.fail("evaluated twice"))
    assert study.evaluate_test() == result
    assert tune.load(tmp_path, data()).evaluate_test() == result


def test_the_files(study, tmp_path, monkeypatch):
    monkeypatch.setattr(plotting, "available", lambda: True)
    written = study.save(tmp_path)
    assert {path.name for path in written} == {"tune.csv", "tune.png", "rounds.csv", "best.json", "tune-curves.png"}
    rows = list(csv.DictReader((tmp_path / "tune.csv").read_text().splitlines()))
    assert [int(row["trial"]) for row in rows] == [trial.number for trial in study.ranked]
    assert float(rows[0]["lr"]) == study.ranked[0].params["lr"]
    narrowed = list(csv.DictReader((tmp_path / "rounds.csv").read_text().splitlines()))
    assert [(row["round"], row["parameter"]) for row in narrowed] == [
        ("1", "lr"), ("1", "optimizer"), ("2", "lr"), ("2", "optimizer"),
    ]  # fmt: skip
    assert [row["why"] for row in narrowed] == [n.why for each in study.rounds for n in each.narrowings]
    for name in ("tune.png", "tune-curves.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 300
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["lr"] == study.best.params["lr"]
    assert (best["hidden"], best["epochs"], best["dataset"]) == ([8], 2, "blobs")


def test_ones_own_function(tmp_path, monkeypatch):
    """Any model and loss, values of any name, arrays as data."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 3))
    t = x @ np.array([[1.0], [2.0], [3.0]])
    asked = []

    def build(params):
        asked.append(params)
        model = nnx.Sequential(nnx.Affine(params["units"]), nnx.Affine(1))
        optimizer = nnx.SGD(params["step size"])
        return nnx.Trainer(model, optimizer, nnx.MeanSquaredError(), weight_decay=params["decay"])

    space = {"step size": Log(1e-4, 0.02), "units": Linear(4, 8), "decay": Choice(0.0, 10.0), "batch_size": 20}
    study = search(tmp_path, space, (x, t), build=build, rounds=3, trials=6)
    assert study.settings.metric == "val_loss"
    assert len(asked) == 6 * len(study.rounds)
    assert all(isinstance(params["units"], int) for params in asked)
    assert study.best.score == min(trial.score for trial in study.trials)
    assert study.best is study.ranked[0]
    decayed = next(trial for trial in study.trials if trial.params["decay"] == 10.0)
    assert decayed.score == decayed.history["val_loss"][-1]  # without the penalty
    assert json.loads((tmp_path / "best.json").read_text()) == study.best.params
    assert set(study.evaluate_test()) == {"loss", "r2"}
    monkeypatch.setattr(plotting, "available", lambda: True)
    assert study.plot().axes[0].get_yscale() == "log"
    assert [axes.get_title()[:8] for axes in study.curves(3).axes] == ["1. trial", "2. trial", "3. trial"]
    with pytest.raises(nnx.InputError, match=r"data: pass the data of the search \(arrays\) to nnx.tune.load"):
        tune.load(tmp_path, build=build).repeat(1)
    with pytest.raises(nnx.InputError, match="build: pass .*build, the function that the search was run with"):
        tune.load(tmp_path, (x, t)).repeat(1)
    assert tune.load(tmp_path, (x, t), build=build).repeat(1).history == study.trial(1).history


def test_failures_are_recorded(tmp_path, capsys):
    def build(params):
        if params["lr"] < 1e-2:
            raise ZeroDivisionError("no such network")
        rate = 1e30 if params["lr"] > 1 else params["lr"]
        return nnx.Trainer(nnx.MLP((4,), 2), nnx.SGD(rate), backend="numpy")

    study = search(tmp_path, {"lr": Log(1e-5, 1e4)}, build=build, trials=12, rounds=1, verbose=True)
    reasons = {trial.reason.split(":")[0] for trial in study.trials if trial.state == "failed"}
    assert reasons == {"ZeroDivisionError", "diverged"}
    assert all(trial.score is None for trial in study.trials if trial.state == "failed")
    assert 1e-2 <= study.best.params["lr"] <= 1
    out = capsys.readouterr().out
    assert "failed" in out
    assert "no such network" in out or "diverged" in out
    rows = study.table()[1]
    assert "failed" in [row[2] for row in rows][-1]
    failed = next(trial.number for trial in study.trials if trial.state == "failed")
    with pytest.raises(nnx.InputError, match=f"trial {failed} failed: "):
        study.repeat(failed)


def test_where_everything_fails(tmp_path):
    def build(params):
        raise ValueError("never")

    study = search(tmp_path, build=build)
    assert len(study.trials) == 5  # a second round would fail, too
    with pytest.raises(nnx.InputError, match="no trial is complete; trial 1: ValueError: never"):
        _ = study.best
    with pytest.raises(nnx.InputError, match="no trial is complete"):
        study.evaluate_test()
    with pytest.raises(nnx.InputTypeError, match=r"build: gave 3, expected an nnx.Trainer"):
        search(tmp_path / "other", build=lambda params: 3)


def test_pruning_is_by_option(tmp_path):
    space = {"lr": Log(1e-5, 0.1), "hidden": (8,)}
    plain = search(tmp_path / "plain", space, trials=14, rounds=1, epochs=5, metric="val_loss")
    assert {trial.state for trial in plain.trials} == {"complete"}
    pruned = search(tmp_path / "pruned", space, trials=14, rounds=1, epochs=5, metric="val_loss", prune=True)
    stopped = [trial for trial in pruned.trials if trial.state == "pruned"]
    assert 0 < len(stopped) < 10
    for trial in stopped:
        epochs = len(trial.history["val_loss"])
        assert epochs < 5
        assert trial.reason == f"after {epochs} epochs worse than the median of this round's trials"
        assert trial.history["val_loss"] == plain.trial(trial.number).history["val_loss"][:epochs]
        assert trial not in pruned.ranked
    assert pruned.repeat(stopped[0].number).history == stopped[0].history


def test_a_backend_for_ones_own_function(tmp_path):
    study = search(tmp_path, {"lr": Log(0.1, 1)}, build=lambda p: nnx.Trainer(nnx.MLP((3,), 2), nnx.SGD(p["lr"])))
    assert {trial.backend for trial in study.trials} == {"numpy"}


def test_the_order_of_the_parameters_does_not_matter(study, tmp_path):
    other = search(tmp_path, dict(reversed(SPACE.items())))
    assert [t.params for t in other.trials] == [t.params for t in study.trials]


def test_a_folder_of_any_name(tmp_path):
    folder = tmp_path / "a b?c%20d#e{f}:@"
    study = search(folder, trials=1, rounds=1)
    assert (folder / "study.db").is_file()
    assert facts(tune.load(folder)) == facts(study)


@pytest.mark.long
def test_tpe(tmp_path):
    study = search(tmp_path / "a", sampler="tpe", trials=8)
    assert facts(study) == facts(search(tmp_path / "b", sampler="tpe", trials=8))
    assert [t.params for t in study.trials[:8]] != [t.params for t in search(tmp_path / "c", trials=8).trials[:8]]


def test_it_ends_when_the_ranges_are_narrow_enough(tmp_path):
    study = search(tmp_path, {"lr": Log(0.01, 0.025), "hidden": (8,)}, rounds=9)
    assert study.finished
    assert len(study.rounds) == 1
    assert study.rounds[0].narrowings[0].new.high <= 2 * study.rounds[0].narrowings[0].new.low


def test_the_choice_is_central_among_equals():
    def trial(number, accuracy, lr):
        return tune.Trial(number, 1, {"lr": lr, "o": "adam"}, "complete", accuracy, 0.1, {}, None, 0.0, "numpy")

    trials = [trial(1, 0.975, 0.5), trial(2, 0.97, 0.01), trial(3, 0.965, 0.003), trial(4, 0.96, 0.03)]
    ranges = {"lr": Log(1e-3, 1.0), "o": Choice("adam")}
    settings = replace(check(), validation_rows=400)  # a standard error of 0.0078
    assert as_good(trials, settings) == trials[:2]
    assert choose(trials, settings, ranges).number == 2
    assert choose(trials, replace(settings, validation_rows=100), ranges).number == 4
    assert choose(trials, replace(settings, validation_rows=10**6), ranges).number == 1
    assert choose(trials, replace(settings, metric="val_loss"), ranges).number == 4  # the least


def check():
    """Settings of some search."""
    parts = tune._data.SearchData.of(data(), 0)
    return check_settings(
        SPACE, parts, None, trials=1, rounds=1, epochs=1, seed=0, metric=None, sampler="random", prune=False
    )


# Interrupted, killed, shared ------------------------------------------------------------------------------------------


def test_ctrl_c_loses_no_finished_trial(study, tmp_path, monkeypatch):
    fit, calls = nnx.Trainer.fit, []

    def interrupted(self, *args, **keywords):
        calls.append(self)
        if len(calls) == 4:
            os.kill(os.getpid(), signal.SIGINT)  # within nnx.tune's own handler
            self.interrupted = True
            return {}
        return fit(self, *args, **keywords)

    monkeypatch.setattr(nnx.Trainer, "fit", interrupted)
    part = search(tmp_path)
    assert not part.finished
    assert facts(part) == facts(study)[:3]
    with pytest.raises(nnx.InputError, match="the search is not finished; continue it first"):
        part.evaluate_test()
    assert facts(search(tmp_path)) == facts(study)
    assert len(calls) == 11


def test_an_error_outside_of_trials_puts_the_trial_back(study, tmp_path, monkeypatch):
    def killed(*args, **keywords):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(nnx.Trainer, "fit", killed)
        with pytest.raises(KeyboardInterrupt):
            search(tmp_path)
    monkeypatch.setattr(_queue, "SILENCE", 1000.0)
    assert facts(search(tmp_path)) == facts(study)


@pytest.mark.long
def test_a_trial_whose_process_dies_again_and_again_fails(tmp_path, monkeypatch):
    monkeypatch.setattr(_queue, "SILENCE", 0.01)
    monkeypatch.setattr(_queue.RoundQueue, "put_back", lambda self, trial: None)  # as if killed

    def killed(*args, **keywords):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(nnx.Trainer, "fit", killed)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                search(tmp_path, trials=1, rounds=1)
    study = search(tmp_path, trials=1, rounds=1)
    assert [trial.reason for trial in study.trials] == ["the process that trained it died 3 times"]


@pytest.mark.long
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_killed_and_resumed(study, tmp_path):
    finished = 0
    for _ in range(2):
        process = start(tmp_path, 0.05)
        for _ in range(3):
            assert process.stdout.readline() == "training\n"
        process.kill()  # in the third training, or what follows it
        process.communicate()
        before = facts(tune.load(tmp_path, data()))
        assert all(fact in facts(study) for fact in before)
        assert len(before) in (finished + 2, finished + 3)
        finished = len(before)
    assert trained(start(tmp_path, 0)) == 10 - finished
    assert facts(tune.load(tmp_path, data())) == facts(study)


@pytest.mark.long
def test_two_processes_share_a_search(study, tmp_path):
    both = [start(tmp_path, 0.1) for _ in range(2)]
    counts = [trained(process) for process in both]
    assert sum(counts) == 10
    assert min(counts) > 0
    assert facts(tune.load(tmp_path, data())) == facts(study)


# Refused before any work ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"trials": 0}, "trials: got 0, expected a whole number of at least 1"),
        ({"rounds": 0}, "rounds: got 0"),
        ({"epochs": 0}, "epochs: got 0"),
        ({"seed": -1}, "seed: got -1"),
        ({"metric": "val_acuracy"}, "unknown metric 'val_acuracy'. Did you mean 'val_accuracy'?"),
        ({"sampler": "tpa"}, "unknown sampler 'tpa'. Did you mean 'tpe'?"),
        ({"prune": 1}, "prune: got 1, expected True or False"),
        ({"build": 3}, "build: got 3, expected a function of a trial's parameters"),
        ({"backend": "nunpy"}, "unknown backend 'nunpy'. Did you mean 'numpy'?"),
        ({"space": {"dropuot": Log(0.1, 1)}}, "unknown parameter 'dropuot'. Did you mean 'dropout'?"),
        ({"space": {"seed": Linear(0, 9)}}, "seed: is the same in all trials of a search; pass it beside the space"),
        ({"space": {"lr": Linear(-1, 1)}}, "space: lr=-1 cannot be used: lr: got -1.0"),
        ({"space": {"dropout": Linear(0, 1)}}, "space: dropout=1 cannot be used: dropout: got 1.0"),
        ({"space": {"optimizer": Choice("adam", "addam")}}, "space: optimizer=addam cannot be used: unknown"),
        ({"space": SPACE | {"activation": "rely"}}, "cannot be used: unknown activation 'rely'. Did you mean 'relu'"),
        ({"space": {"hidden": Log(8.0, 64.0)}}, "space: hidden=8 cannot be used: hidden: got 8.0"),
        ({"space": {"batch_size": Choice(0, 32)}}, "batch_size: got 0"),
        ({"given": "digit"}, "unknown data set 'digit'. Did you mean 'digits'?"),
        ({"given": data(9)}, "blobs: holds 9 rows, too few to be split"),
        ({"given": (np.ones((20, 2)), np.ones((19, 1)))}, "data: got arrays of shapes (20, 2) and (19, 1)"),
        ({"given": (np.ones((20, 2)), np.ones((20, 1)))}, "data: a pair of arrays needs build="),
        ({"given": 3}, "data: got int, expected a data set's name, a folder of idx files"),
        ({"given": tuple(data().split(0.5, 0.5))}, "data: got tuple, expected a data set's name"),
        ({"storage": "mysql://x/y"}, "name: several searches share a storage; pass the name of this one"),
        ({"name": "x"}, "name: is the name of a search in a shared storage"),
        ({"storage": "nonsense", "name": "x"}, "storage: got 'nonsense', expected a URL such as postgresql://"),
        ({"storage": "sqlite://", "name": "x"}, "storage: sqlite:// is in memory and gone with its process"),
        ({"storage": "postgres://u:secret@h/d", "name": "x"}, "expected a URL such as postgresql://"),
        ({"storage": "u:secret@h/d", "name": "x"}, "expected a URL such as postgresql://"),
        (
            {"storage": "postgresql://u:secret@h:port/d", "name": "x"},
            "got 'postgresql://u:***@h:port/d', expected",
        ),
        (
            {"storage": "postgresql://u:p@secret@h/d", "name": "x"},
            "more than one @; write that of a user or",
        ),
        (
            {"storage": "nosql://h/d?password=secret&x=1", "name": "x"},
            "got 'nosql://h/d?password=***&x=1'",
        ),
        (
            {"storage": "postgresql://u:secret@h/d", "name": "x"},
            "cannot be imported (import of psycopg halted",
        ),
        ({"storage": "postgresql://u:{secret}@h/d", "name": "x"}, "pip install 'nnx-array[postgres]'"),
        ({"storage": "mysql://u:secret@h/d", "name": "x"}, "mysql+pymysql://"),
        ({"storage": "mysql+pymysql://u:secret@h/d", "name": "x"}, "pip install pymysql"),
    ],
)
def test_refused_before_any_work(change, message, tmp_path, monkeypatch):
    monkeypatch.setattr(nnx.Trainer, "fit", lambda *a, **k: pytest.fail("trained"))
    for driver in ("psycopg", "pymysql", "MySQLdb"):
        monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(nnx.NnxError) as error:
        search(tmp_path / "study", **change)
    assert message in str(error.value)
    assert "secret" not in str(error.value)
    assert not (tmp_path / "study" / "study.db").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 3}, "holds another search: epochs is 2 there, got 3; pass the same, or another folder or name"),
        ({"space": SPACE | {"lr": Log(1e-4, 0.5)}}, "lr is Log(0.0001, 1) there, got Log(0.0001, 0.5)"),
        ({"space": SPACE | {"dropout": 0.5}}, "dropout is nothing there, got 0.5"),
        ({"given": data(seed=1)}, "holds a search on other data (blobs; the rows or their order differ from blobs)"),
        ({"prune": True}, "prune is False there, got True"),
    ],
)
def test_another_search_in_the_same_folder(study, change, message):
    with pytest.raises(nnx.InputError) as error:
        search(study.folder, **change)
    assert message in str(error.value)


def test_damaged_and_locked_files(tmp_path, monkeypatch):
    (tmp_path / "study.db").write_bytes(b"no database at all" * 100)
    for call in (lambda: search(tmp_path), lambda: tune.load(tmp_path)):
        with pytest.raises(
            nnx.CheckpointError, match="study.db: is no study that can be read .*file is not a database"
        ):
            call()
    (tmp_path / "study.db").write_bytes(b"")
    with pytest.raises(nnx.CheckpointError, match="study.db: is no study that can be read .*no such table"):
        search(tmp_path)
    with pytest.raises(nnx.InputError, match=r"nowhere: holds no search \(there is no study.db\)"):
        tune.load(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(nnx.InputError, match="file: cannot be made a folder"):
        search(tmp_path / "file")

    search(tmp_path / "cut", rounds=1)
    with closing(sqlite3.connect(tmp_path / "cut" / "study.db")) as file:
        file.execute("UPDATE trial_user_attributes SET value_json = '{}' WHERE key = 'record'")
        file.commit()
    with pytest.raises(nnx.CheckpointError, match="cut: holds trials that cannot be read"):
        tune.load(tmp_path / "cut")

    monkeypatch.setattr(_storage, "LOCK_SECONDS", 0.1)
    search(tmp_path / "locked", rounds=1)
    with closing(sqlite3.connect(tmp_path / "locked" / "study.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        for call in (lambda: search(tmp_path / "locked", rounds=1), lambda: tune.load(tmp_path / "locked")):
            with pytest.raises(nnx.InputError, match="study.db: is locked by another program for more than 0"):
                call()


def test_a_shared_storage_by_its_url(study, tmp_path):
    url = f"sqlite:///{urllib.parse.quote(str(tmp_path / 'shared.db'))}"
    shared = tune.search(
        SPACE, data(), trials=5, rounds=2, epochs=2, backend="numpy", verbose=False,
        folder=tmp_path / "results", storage=url, name="first",
    )  # fmt: skip
    assert facts(shared) == facts(study)
    assert not (tmp_path / "results" / "study.db").exists()
    assert (tmp_path / "results" / "best.json").exists()
    other = tune.search(
        SPACE, data(), trials=2, rounds=1, epochs=1, backend="numpy", verbose=False,
        folder=tmp_path / "results", storage=url, name="second",
    )  # fmt: skip
    assert len(other.trials) == 2
    assert facts(tune.load(tmp_path, data(), storage=url, name="first")) == facts(study)
    with pytest.raises(nnx.InputError, match="holds no search 'third'; there are: first, second"):
        tune.load(storage=url, name="third")


def test_optuna_stays_quiet_and_unchanged(tmp_path, capfd, caplog):
    level = optuna.logging.get_verbosity()
    search(tmp_path / "study", rounds=1, trials=2)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert optuna.logging.get_verbosity() == level
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'own.db'}")
    optuna.create_study(storage=storage)
    storage.remove_session()
    storage.engine.dispose()
    assert "A new study created" in caplog.text


def test_without_optuna(monkeypatch, tmp_path):
    monkeypatch.setattr(_storage, "find_spec", lambda name: None)
    with pytest.raises(nnx.InputError, match=r"nnx.tune needs Optuna; pip install 'nnx-array\[tune\]'"):
        search(tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_it_finds_a_learning_rate_as_good_as_a_grid_does(backend, tmp_path):
    """From six decades, in sixty trials of two epochs, within a factor of 3."""
    digits = nnx.datasets.load("digits")
    scores = {}
    for lr in 10.0 ** np.arange(-4, 2.1, 0.25):
        trainer = nnx.Trainer(nnx.MLP((50,), 10), nnx.SGD(lr), backend=backend)
        history = trainer.fit(digits.train, epochs=2, validation_data=digits.validation, verbose=False)
        scores[lr] = history["val_accuracy"][-1], -history["val_loss"][-1]
    best = max(scores, key=scores.get)

    space = {"lr": Log(1e-4, 100.0), "weight_decay": Log(1e-8, 1e-2)}
    study = tune.search(
        space | {"hidden": (50,), "optimizer": "sgd", "batch_size": 100},
        digits, trials=15, rounds=4, epochs=2, backend=backend, folder=tmp_path, verbose=False,
    )  # fmt: skip
    assert len(study.trials) <= 60
    assert best / 3 <= study.best.params["lr"] <= best * 3
    for each in study.rounds:
        for narrowing in each.narrowings:
            assert narrowing.new.width <= 0.751 * narrowing.old.width
            assert narrowing.old.low <= narrowing.new.low < narrowing.new.high <= narrowing.old.high
    assert study.ranges["lr"].width < 0.25 * Log(1e-4, 100.0).width
    assert study.ranges["lr"].low / 3 < best < study.ranges["lr"].high * 3
