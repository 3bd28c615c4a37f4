"""A search to look at: its trials, its rounds, the best, and its one evaluation on the test set."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .._support import plots as plotting
from .._support.checks import check_count
from .._support.files import write_atomically
from .._support.result import write_csv
from ..errors import CheckpointError, InputError
from ..lab import Result
from ..training import Trainer
from . import _tables, figures
from ._choose import as_good, choose
from ._data import SearchData
from ._narrow import Narrowing, ends_after
from ._place import Place
from ._queue import finished
from ._settings import Build, Settings, trainer_for
from ._space import Range, from_json
from ._storage import load_round, round_name
from ._trial import Interrupted, Trial, from_optuna, ranked, run_trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from optuna.storages import RDBStorage


@dataclass(frozen=True)
class Round:
    """A round: the ranges that its trials' values were drawn from, and how they were narrowed after it."""

    number: int
    """The round's number, from 1."""
    ranges: dict[str, Range]
    narrowings: tuple[Narrowing, ...]
    """Empty while the round is not finished."""


@dataclass(frozen=True, eq=False, repr=False)
class Study(Result):
    """A search, finished or not, as it was when it was read; `search` and `load` return it."""

    name: ClassVar[str] = "tune"

    settings: Settings
    trials: tuple[Trial, ...]
    """The finished trials, by number."""
    rounds: tuple[Round, ...]
    _place: Place = field(repr=False)
    _data: Any = field(repr=False)
    _build: Build | None = field(repr=False)
    _backend: str | None = field(repr=False)

    @property
    def folder(self) -> Path:
        """The folder of the results."""
        return self._place.folder

    @property
    def finished(self) -> bool:
        """Whether the search is at its end."""
        last = self.rounds[-1]
        return bool(last.narrowings) and ends_after(self.settings, last.number, last.narrowings)

    @property
    def ranked(self) -> list[Trial]:
        """The complete trials, the best first: by the score, then the validation loss, then the number."""
        return ranked(self.trials, self.settings.metric)

    @property
    def best(self) -> Trial:
        """The trial that the search chooses.

        Of the trials whose accuracy is within one standard error of the first's, it is the one nearest to the middle of
        the last ranges (the one-standard-error rule of Breiman et al. 1984); with "val_loss" it is the first.

        Raises:
            InputError: If no trial is complete.
        """
        if not self.ranked:
            reasons = [f"trial {trial.number}: {trial.reason}" for trial in self.trials if trial.reason]
            raise InputError(
                f"{self._place}: no trial is complete" + (f"; {reasons[0]}" if reasons else "; continue the search")
            )
        return choose(self.trials, self.settings, self.ranges)

    @property
    def as_good(self) -> list[Trial]:
        """The trials within one standard error of the first's accuracy; with "val_loss" the first alone."""
        return as_good(self.trials, self.settings)

    @property
    def ranges(self) -> dict[str, Range]:
        """The ranges after the last round, by name."""
        last = self.rounds[-1]
        return {**last.ranges, **{each.name: each.new for each in last.narrowings}}

    def trial(self, number: int) -> Trial:
        """Return a trial by its number, counted from 1; raise `InputError` if it is not there."""
        check_count("number", number)
        for trial in self.trials:
            if trial.number == number:
                return trial
        raise InputError(
            f"{self._place}: has no finished trial {number}; there are {len(self.trials)}, up to "
            f"{max((trial.number for trial in self.trials), default=0)}."
        )

    # A trial again, and the test --------------------------------------------------------------------------------------

    def repeat(self, number: int) -> Trainer:
        """Train a trial again with the values that it had.

        The result is the same bit for bit on the same machine and backend. The backend is the trial's, unless another
        was passed to `search` or `load`.

        Args:
            number: The trial's number, counted from 1.

        Returns:
            The trained trainer, whose history is the trial's.

        Raises:
            InputError: If there is no such trial, if it failed, or if the data or `build` of the search are missing.
        """
        trial = self.trial(number)
        epochs = len(trial.history.get("val_loss", ())) if trial.state == "pruned" else self.settings.epochs
        backend = self._backend or trial.backend
        try:
            outcome, trainer = run_trial(
                self.settings, trial.params, self._need_data(), self._build, backend, epochs=epochs
            )
        except Interrupted:
            raise KeyboardInterrupt from None
        if trainer is None or outcome.state == "failed":
            raise InputError(f"trial {number} failed: {outcome.reason}")
        return trainer

    def trainer(self) -> Trainer:
        """Return a new, untrained trainer with the values of the choice, to train for any number of epochs."""
        return trainer_for(self.settings, self.best.params, self._need_data(), self._build, self._backend)

    @property
    def test_result(self) -> dict[str, float] | None:
        """The result of `evaluate_test`, None if it was never called; the test part is not evaluated for it."""
        with self._place.existing() as (storage, name):
            identity = storage.get_study_id_from_name(round_name(name, 1))
            stored = storage.get_study_user_attrs(identity).get("test")
        return None if stored is None else dict(stored["result"])

    def evaluate_test(self) -> dict[str, float]:
        """Train the choice again, as in the search, and evaluate it on the test part, once.

        The study stores the result, and later calls return it.

        Returns:
            "loss" and, if the loss has a score, "accuracy" or "r2", as `Trainer.evaluate` gives them.

        Raises:
            InputError: Before the search's end, because whoever looks at the test part earlier chooses by it.
        """
        if (stored := self.test_result) is not None:
            return stored
        if not self.finished:
            raise InputError(
                f"{self._place}: the search is not finished; continue it first. The test part is evaluated once, "
                "with the final choice."
            )
        data, best = self._need_data(), self.best
        trainer = self.repeat(best.number)
        loss, score = trainer.evaluate(*data.test)
        result = {"loss": loss} if score is None else {"loss": loss, str(trainer.loss.metric): score}
        with self._place.existing() as (storage, name):
            identity = storage.get_study_id_from_name(round_name(name, 1))
            storage.set_study_user_attr(identity, "test", {"trial": best.number, "result": result})
        return result

    def _need_data(self) -> SearchData:
        if self.settings.build is not None and self._build is None:
            raise InputError(f"build: pass {self.settings.build}, the function that the search was run with, to load.")
        source = self.settings.source if self._data is None else self._data
        if source is None:
            raise InputError(f"data: pass the data of the search ({self.settings.data}) to nnx.tune.load.")
        data = SearchData.of(source, self.settings.seed)
        if data.fingerprint() != self.settings.fingerprint:
            raise InputError(f"data: these are not the data of the search ({self.settings.data}); pass the same.")
        return data

    # Tables and figures -----------------------------------------------------------------------------------------------

    def summary(self) -> str:
        """Return the best trials as text, with the choice and its reason."""
        return _tables.summary(self)

    def table(self) -> tuple[Sequence[str], list[list[Any]]]:
        """Return column names and rows of every finished trial, the best first, those that failed last."""
        return _tables.every_trial(self)

    def draw(self) -> "Figure":
        """Draw score against each parameter, with the ranges of each round."""
        return figures.scores(self)

    def curves(self, count: int = 20) -> "Figure":
        """Draw the learning curves of the best `count` trials."""
        with plotting.style():
            return figures.curves(self, check_count("count", count))

    def config(self) -> dict[str, Any]:
        """Return the choice as `nnx train --config` takes it; with `build`, the values of its parameters."""
        if self.settings.build is not None:
            return dict(self.best.params)
        return asdict(self.settings.config(self.best.params))

    def save(self, folder: "str | os.PathLike[str] | None" = None) -> list[Path]:
        """Write the search's tables, its choice and its figures.

        They are tune.csv (every trial), rounds.csv (how the ranges were narrowed, and why), best.json (the choice, for
        `nnx train --config`), and with matplotlib tune.png and tune-curves.png.

        Args:
            folder: The folder to write to; None for the search's own.

        Returns:
            The paths of the files.
        """
        written = super().save(self.folder if folder is None else folder)
        place = written[0].parent
        written.append(place / "rounds.csv")
        write_csv(written[-1], *_tables.every_narrowing(self))
        if self.ranked:
            write_atomically(place / "best.json", json.dumps(self.config(), indent=2).encode() + b"\n")
            written.append(place / "best.json")
            if plotting.available():
                plotting.save(self.curves(), place / "tune-curves.png")
                written.append(place / "tune-curves.png")
        return written


def load(
    folder: "str | os.PathLike[str] | None" = None,
    data: Any = None,
    *,
    build: Build | None = None,
    storage: str | None = None,
    name: str | None = None,
    backend: str | None = None,
) -> Study:
    """Load a search as it is now, from its folder or from a shared storage.

    Args:
        folder: The folder of the results; with `storage` it may be None, for the one under runs/ with the search's
            name.
        data: The data of the search, for `repeat`, `trainer` and `evaluate_test`; not needed if they have a name.
        build: The function that the search was run with, for the same methods.
        storage: URL of the shared database, if it is in one.
        name: Name of the search in `storage`.
        backend: Name of the backend for trainings; None for the trial's own in `repeat`, else the one in force.

    Raises:
        InputError: If there is no search, and without Optuna.
        CheckpointError: For a damaged one.
    """
    if folder is None and storage is None:
        raise InputError("folder: got None, expected the folder of a search, or the URL of its storage.")
    return read_study(Place.of(folder, storage, name), data, build, backend)


def read_study(place: Place, data: Any, build: Build | None, backend: str | None) -> Study:
    """Read a search from its storage."""
    with place.existing() as (storage, name):
        settings = place.settings(storage, name)
        try:
            rounds, trials = _read(storage, name, settings)
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise CheckpointError(
                f"{place}: holds trials that cannot be read ({error!r}); use another copy."
            ) from error
    return Study(settings, tuple(trials), tuple(rounds), place, data, build, backend)


def _read(storage: "RDBStorage", name: str, settings: Settings) -> tuple[list[Round], list[Trial]]:
    rounds: list[Round] = []
    trials: list[Trial] = []
    for number in range(1, settings.rounds + 1):
        try:
            study = load_round(storage, name, number)
            attrs = study.user_attrs
            ranges: Any = {key: from_json(entry) for key, entry in attrs["ranges"].items()}
        except KeyError:  # not begun
            break
        narrowings = tuple(Narrowing.from_json(entry) for entry in attrs.get("narrowings", ()))
        rounds.append(Round(number, ranges, narrowings))
        first = (number - 1) * settings.trials
        trials += [
            from_optuna(each, first + each.number + 1, number, ranges, settings.space.fixed)
            for each in finished(study, settings.trials)
        ]
    return rounds, trials
