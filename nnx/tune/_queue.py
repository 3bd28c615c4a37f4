"""The trials of one round, shared by any number of processes: each takes the next, and what a dead one had is taken up.

A trial's number in the round is the one that the database gave it, so that no two processes have the same. A process
that trains writes a beat every `BEAT` seconds. Another that has seen none for `SILENCE` seconds by its own clock (no
two clocks are compared) puts the trial back; it is then trained again with the values it had. Should the first process
have been but slow, both come to the same result, and the first to finish is kept.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
"""Seconds between two looks at what other processes train."""
ATTEMPTS = 3
"""A trial whose process died so often is recorded as failed."""


class RoundQueue:
    """The trials of a round, of which there are `trials`. study: the round's Optuna study; number: the round's."""

    def __init__(self, storage: "RDBStorage", study: "OptunaStudy", number: int, trials: int) -> None:
        self.storage, self.study, self.number, self.trials = storage, study, number, trials
        self.id = storage.get_study_id_from_name(study.study_name)
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:6]}"
        self._beats: dict[int, tuple[Any, float]] = {}

    def all(self) -> "list[FrozenTrial]":
        """Those that there are, in their order. (Two processes at once can ask for one too many, which nobody runs.)"""
        return self.study.get_trials(deepcopy=False)[: self.trials]

    def take(self) -> "OptunaTrial | None":
        """The next trial, now this process's, if there is one to take."""
        from optuna.trial import TrialState

        present = self.all()
        waiting = self._put_back_silent(present) or any(trial.state == TrialState.WAITING for trial in present)
        if not waiting and len(present) == self.trials:
            return None
        trial = self.study.ask()
        if trial.number >= self.trials:
            self.study.tell(trial, state=TrialState.FAIL)
            return None
        attempts = trial.user_attrs.get("attempts", 0) + 1
        trial.set_user_attr("attempts", attempts)
        if attempts > ATTEMPTS:
            reason = f"the process that trained it died {ATTEMPTS} times"
            self.finish(trial, Outcome("failed", None, None, {}, reason, 0.0, None))
            return self.take()
        return trial

    def _put_back_silent(self, trials: "list[FrozenTrial]") -> bool:
        """Let the trials of processes that have not been heard of for long be taken again; whether there were any."""
        from optuna.trial import TrialState

        now, found = time.monotonic(), False
        for trial in trials:
            if trial.state != TrialState.RUNNING:
                continue
            sign = trial.user_attrs.get("beat"), trial.user_attrs.get("attempts")
            seen, since = self._beats.get(trial.number, (None, now))
            if seen != sign:
                self._beats[trial.number] = sign, now
            elif now - since > SILENCE:
                found = self._put_back(trial.number) or found
        return found

    def put_back(self, trial: "OptunaTrial") -> None:
        """Give back a trial that was not trained to its end by one's own will: it does not count as an attempt."""
        trial.set_user_attr("attempts", trial.user_attrs["attempts"] - 1)
        self._put_back(trial.number)

    def _put_back(self, number: int) -> bool:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        trial = self.storage.get_trial_id_from_study_id_trial_number(self.id, number)
        try:
            return self.storage.set_trial_state_values(trial, TrialState.WAITING)
        except UpdateFinishedTrialError:  # it was heard of in this moment
            return False

    def values(self, trial: "OptunaTrial", ranges: "dict[str, Range]", sampler: str, seed: int) -> dict[str, Value]:
        """The trial's values: they depend on the seed, the trial's number and the ranges alone (with TPE on the
        finished trials of the round, too), and are kept where the trial had some already."""
        found = {}
        for i, (name, span) in enumerate(ranges.items()):
            state = np.random.SeedSequence((seed, self.number, trial.number, i)).generate_state(1)
            self.study.sampler = _sampler(sampler, int(state[0]), self.trials)
            found[name] = span.suggest(name, trial)
        return found

    @contextmanager
    def beating(self, trial: "OptunaTrial") -> Iterator[None]:
        """Show others that this process lives while it trains."""
        done = threading.Event()
        identity = self.storage.get_trial_id_from_study_id_trial_number(self.id, trial.number)

        def beat() -> None:
            count = 0
            while not done.wait(BEAT):
                count += 1
                try:
                    self.storage.set_trial_user_attr(identity, "beat", f"{self.worker} {count}")
                except Exception:  # the training tells of a database that is gone; somebody else may have finished it
                    return
            self.storage.remove_session()

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def finish(self, trial: "OptunaTrial", outcome: Outcome) -> None:
        """Keep the result, its history first: a trial that counts as finished is whole."""
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
    """The trials of a round that have a result."""
    return [trial for trial in study.get_trials(deepcopy=False)[:trials] if trial.state.is_finished()]


def _sampler(name: str, seed: int, trials: int) -> "BaseSampler":
    from optuna.samplers import RandomSampler, TPESampler

    if name == "random":
        return RandomSampler(seed=seed)
    return TPESampler(seed=seed, n_startup_trials=max(1, trials // 3))
