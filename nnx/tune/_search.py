"""The search: rounds of short trainings with random values, whose ranges are narrowed around the best after each."""

import os
from collections.abc import Mapping
from threading import Event
from typing import TYPE_CHECKING, Any

from .._support.checks import check_flag, check_seed
from ..backend import choose
from ..training import interruption
from ._data import SearchData
from ._narrow import Narrowing, ends_after, narrow_all
from ._place import Place
from ._progress import SearchProgress
from ._queue import POLL, RoundQueue
from ._settings import Build, Settings, check_settings
from ._space import Range, ranges_to_json
from ._storage import create, load_round, need_optuna
from ._study import Study, read_study
from ._trial import Interrupted, Trial, from_optuna, run_trial

if TYPE_CHECKING:
    from optuna import Trial as OptunaTrial
    from optuna.storages import RDBStorage


def search(
    space: "Mapping[str, Any]",
    data: Any = "digits",
    *,
    build: Build | None = None,
    trials: int = 20,
    rounds: int = 4,
    epochs: int = 10,
    seed: int = 0,
    metric: str | None = None,
    sampler: str = "random",
    prune: bool = False,
    backend: str | None = None,
    folder: "str | os.PathLike[str] | None" = None,
    storage: str | None = None,
    name: str | None = None,
    verbose: bool = True,
) -> Study:
    """Search for good hyper-parameters on training and validation data; the test part is put aside.

    In each of `rounds` rounds, `trials` networks are trained for `epochs` epochs with values drawn from the ranges.
    Then every range is narrowed around the best (docs/tune.md has the rule), so that the next round searches it more
    finely. The search ends when all ranges are narrow enough, or after the last round; `Study.best` is the choice.

        study = nnx.tune.search({"lr": Log(1e-5, 1e-1), "dropout": Linear(0, 0.5), "hidden": (100,)}, "digits")
        print(study)

    A trial that fails or diverges is recorded with its reason. Ctrl-C ends the search and keeps all finished trials.

    Args:
        space: For the name of each parameter a `Log`, `Linear` or `Choice`, or a fixed value. Without `build` the names
            are settings of `nnx train`: lr, weight_decay, dropout, hidden, batch_size, optimizer, activation, init,
            batchnorm, clip_norm, dtype, precision. A whole number as `hidden` is one hidden layer. All trials then
            begin with the seed's weights and see its batches.
        data: A name or folder as for `nnx.datasets.load`, a `Dataset` or arrays (x, t), all split by `seed`, or
            `Splits`.
        build: A function from a dictionary of the values to the `Trainer` of an unbuilt model, for any model, loss and
            names; "batch_size", if it is one of the names, is the batch size of the training.
        trials: Number of trials in each round.
        rounds: Number of rounds at most.
        epochs: Number of epochs of each trial.
        seed: Seed of the split, the drawn values and, without `build`, the weights and batches.
        metric: "val_accuracy" (default for labels) or "val_loss", after the last epoch.
        sampler: "random", or "tpe" (Bergstra et al. 2011), which learns from the finished trials of the round.
        prune: Whether to stop trials that are worse than the median of the others after as many epochs. It saves time,
            and can stop one that would have become good.
        backend: Name of the backend to train on; None for the one in force.
        folder: Folder for the results and study.db; None for a new one under runs/. A search that is called again with
            the same folder and settings goes on where it was; processes that do so at the same time share it.
        storage: URL of a database that several machines share, such as postgresql://user:password@host/database.
        name: Name of the search in `storage`.
        verbose: Whether to print progress.

    Returns:
        The search with its trials; its tables and figures are written to the folder.

    Raises:
        InputError: Before anything is trained, for ranges, data and settings of which no search can be made, for a
            folder or storage that holds another search, and without Optuna.
        InputTypeError: For arguments of a wrong type.
        CheckpointError: For a damaged study in the folder or storage.
    """
    need_optuna()
    choose(backend)
    parts = SearchData.of(data, check_seed(seed))
    settings = check_settings(
        space, parts, build, trials=trials, rounds=rounds, epochs=epochs, seed=seed, metric=metric, sampler=sampler,
        prune=prune,
    )  # fmt: skip
    place = Place.of(folder, storage, name, f"tune-{parts.name}")
    progress = SearchProgress(check_flag("verbose", verbose), settings)
    progress.line(f"{parts!r}")
    with place.begun(settings) as (opened, name), progress:
        finished = _Search(settings, parts, build, backend, opened, name, progress).run()
    study = read_study(place, data, build, backend)
    progress.line(study.summary() if finished else "interrupted; the finished trials are kept")
    written = study.save(place.folder)
    progress.line(f"written to {place.folder}: {', '.join(path.name for path in written)}")
    return study


class _Search:
    """One process's part in a search."""

    def __init__(
        self,
        settings: Settings,
        data: SearchData,
        build: Build | None,
        backend: str | None,
        storage: "RDBStorage",
        name: str,
        progress: SearchProgress,
    ) -> None:
        self.settings, self.data, self.build, self.backend = settings, data, build, backend
        self.storage, self.name, self.progress = storage, name, progress
        self.trials: list[Trial] = []
        """The finished trials of earlier rounds."""

    def run(self) -> bool:
        """Take part until the search ends; return False if Ctrl-C ended it."""
        ranges = self.settings.space.ranges
        with interruption() as interrupted:
            for number in range(1, self.settings.rounds + 1):
                if not self.round(number, ranges, interrupted):
                    return False
                narrowings = self.narrow(number, ranges)
                ranges = {narrowing.name: narrowing.new for narrowing in narrowings}
                if ends_after(self.settings, number, narrowings):
                    break
        return True

    def round(self, number: int, ranges: "dict[str, Range]", interrupted: Event) -> bool:
        """Train the open trials of a round and wait for those of other processes; return False if Ctrl-C ended it."""
        create(self.storage, self.name, number, self.settings.metric, {"ranges": ranges_to_json(ranges)})
        queue = RoundQueue(self.storage, load_round(self.storage, self.name, number), number, self.settings.trials)
        first = (number - 1) * self.settings.trials
        while not interrupted.is_set():
            present = queue.present()
            done = [each for each in present if each.state.is_finished()]
            taken = queue.take(present)
            self.progress.show(number, len(done), waiting=taken is None)
            if taken is not None:
                self.train(queue, taken, ranges, interrupted)
            elif len(done) == self.settings.trials:
                fixed = self.settings.space.fixed
                self.trials += [from_optuna(each, first + each.number + 1, number, ranges, fixed) for each in done]
                return True
            else:
                interrupted.wait(POLL)
        return False

    def train(self, queue: RoundQueue, taken: "OptunaTrial", ranges: "dict[str, Range]", interrupted: Event) -> None:
        """Train one trial and store its result, or requeue it if the training is broken off."""

        def report(epoch: int, score: float) -> bool:
            if not self.settings.prune or epoch == self.settings.epochs:
                return False
            taken.report(score, epoch)
            return taken.should_prune()

        try:
            with queue.beating(taken):
                values = queue.values(taken, ranges, self.settings.sampler, self.settings.seed)
                params = {**values, **self.settings.space.fixed}
                outcome = queue.given_up(taken)
                if outcome is None:
                    outcome, _ = run_trial(self.settings, params, self.data, self.build, self.backend, report)
            queue.finish(taken, outcome)
        except Interrupted:
            interrupted.set()
            queue.put_back(taken)
        except BaseException:
            queue.put_back(taken)
            raise

    def narrow(self, number: int, ranges: "dict[str, Range]") -> tuple[Narrowing, ...]:
        """Narrow the ranges after a round, print and store them.

        They are the same in every process, because all see the same trials.
        """
        entry = [each.to_json() for each in narrow_all(ranges, self.trials, self.settings.metric)]
        create(self.storage, self.name, number, self.settings.metric, {"narrowings": entry})
        kept = load_round(self.storage, self.name, number).user_attrs["narrowings"]
        narrowings = tuple(map(Narrowing.from_json, kept))
        self.progress.round(number, self.trials, narrowings)
        return narrowings
