"""The trials of one round, shared by any number of processes: each takes the next; those of dead ones are requeued.

The database numbers the trials of a round, so no two processes have the same one. A process that trains writes a beat
every `BEAT` seconds. Another process that sees no new beat for `SILENCE` seconds by its own clock (clocks are never
compared) requeues the trial, which is then trained again with the same values. If the first process was only slow, both
come to the same result, and the first to finish is kept.
"""

import os
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np

from ._space import Range, Value
from ._trial import RECORD, Outcome

if TYPE_CHECKING:
    from optuna import Study as OptunaStudy
    from optuna import Trial as OptunaTrial
    from optuna.samplers import BaseSampler
    from optuna.storages import RDBStorage
    from optuna.trial import FrozenTrial

BEAT = 2.0
SILENCE = 15.0
POLL = 0.2
"""Seconds between two looks at the trials of other processes."""
DEATHS = 3
"""A trial whose process died this many times is recorded as failed."""


class RoundQueue:
    """The trials of a round.

    Args:
        storage: The database.
        study: The round's Optuna study.
        number: The round's number, from 1.
        trials: How many trials the round has.
    """

    def __init__(self, storage: "RDBStorage", study: "OptunaStudy", number: int, trials: int) -> None:
        self.storage, self.study, self.number, self.trials = storage, study, number, trials
        self.id = storage.get_study_id_from_name(study.study_name)
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:6]}"
        self._beats: dict[int, tuple[Any, float]] = {}

    def present(self) -> "list[FrozenTrial]":
        """Return the round's trials so far, by number.

        Two processes that ask at the same time can create one too many, which nobody runs; it is left out.
        """
        return self.study.get_trials(deepcopy=False)[: self.trials]

    def take(self, present: "list[FrozenTrial]") -> "OptunaTrial | None":
        """Take the next trial for this process; return None if there is none to take."""
        from optuna.trial import TrialState

        waiting = self._put_back_silent(present) or any(trial.state == TrialState.WAITING for trial in present)
        if not waiting and len(present) == self.trials:
            return None
        trial = self.study.ask()
        if trial.number >= self.trials:
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        return trial

    def given_up(self, trial: "OptunaTrial") -> Outcome | None:
        """Return the outcome of a trial whose process died too often; None for any other trial."""
        if trial.user_attrs.get("deaths", 0) < DEATHS:
            return None
        return Outcome("failed", None, None, {}, f"the process that trained it died {DEATHS} times", 0.0, None)

    def _put_back_silent(self, present: "list[FrozenTrial]") -> bool:
        """Requeue trials whose process has been silent for too long; return whether there were any."""
        from optuna.trial import TrialState

        now, found = time.monotonic(), False
        for trial in present:
            if trial.state != TrialState.RUNNING:
                continue
            deaths = trial.user_attrs.get("deaths", 0)
            sign = trial.user_attrs.get("beat"), deaths
            seen, since = self._beats.get(trial.number, (None, now))
            if seen != sign:
                self._beats[trial.number] = sign, now
            elif now - since > SILENCE:
                found = self._put_back(trial.number, deaths + 1) or found
        return found

    def put_back(self, trial: "OptunaTrial") -> None:
        """Requeue a trial whose training this process has broken off."""
        self._put_back(trial.number)

    def _put_back(self, number: int, deaths: int | None = None) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        trial = self.storage.get_trial_id_from_study_id_trial_number(self.id, number)
        try:
            if deaths is not None:
                self.storage.set_trial_user_attr(trial, "deaths", deaths)
            return self.storage.set_trial_state_values(trial, TrialState.WAITING)
        except UpdateFinishedTrialError:  # its process finished it in this moment
            return False

    def values(self, trial: "OptunaTrial", ranges: "dict[str, Range]", sampler: str, seed: int) -> dict[str, Value]:
        """Draw the trial's values from the ranges, or return those that it already has.

        They depend on the seed, the round, the trial's number, the parameter's name and its range alone; with TPE also
        on the finished trials of the round.
        """
        found = {}
        for name, span in ranges.items():
            key = (seed, self.number, trial.number, zlib.crc32(name.encode()))
            state = np.random.SeedSequence(key).generate_state(1)
            self.study.sampler = _sampler(sampler, int(state[0]), self.trials)
            found[name] = span.suggest(name, trial)
        return found

    @contextmanager
    def beating(self, trial: "OptunaTrial") -> Iterator[None]:
        """Write beats while the block runs, so that other processes see that this one is alive."""
        done = threading.Event()
        identity = self.storage.get_trial_id_from_study_id_trial_number(self.id, trial.number)

        def beat() -> None:
            count = 0
            while not done.wait(BEAT):
                count += 1
                # Another process may have finished the trial; a server that is gone may come back: `finish` meets both.
                with suppress(Exception):
                    self.storage.set_trial_user_attr(identity, "beat", f"{self.worker} {count}")
            self.storage.remove_session()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def finish(self, trial: "OptunaTrial", outcome: Outcome) -> None:
        """Store the result, its history before its state: a trial that counts as finished is complete."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        identity = self.storage.get_trial_id_from_study_id_trial_number(self.id, trial.number)
        states = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
        values = None if outcome.score is None else [outcome.score]
        try:
            self.storage.set_trial_user_attr(identity, RECORD, outcome.record())
            self.storage.set_trial_state_values(identity, states[outcome.state], values)
        except UpdateFinishedTrialError:
            pass  # another process thought that this one was dead, and came to the same result


def finished(study: "OptunaStudy", trials: int) -> "list[FrozenTrial]":
    """Return the trials of a round that have a result."""
    return [trial for trial in study.get_trials(deepcopy=False)[:trials] if trial.state.is_finished()]


def _sampler(name: str, seed: int, trials: int) -> "BaseSampler":
    from optuna.samplers import RandomSampler, TPESampler

    if name == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, n_startup_trials=max(1, trials // 3))
