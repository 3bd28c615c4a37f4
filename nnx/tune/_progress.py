"""What a search shows: a line for every round and for every range that became narrower, and in a terminal a bar."""

from collections.abc import Sequence

from .._support.console import Lines
from ._narrow import Narrowing
from ._settings import Settings
from ._trial import Trial, ranked


class SearchProgress(Lines):
    """Prints a search's progress: lines to standard output and, in a terminal, a bar while it runs."""

    def __init__(self, enabled: bool, settings: Settings) -> None:
        super().__init__(enabled, "{task.description}", "trials", "{task.fields[state]}")
        self._settings = settings
        if self._bar is not None:
            self._task = self._bar.add_task("", total=settings.trials * settings.rounds, state="")

    def show(self, number: int, done: int, *, waiting: bool) -> None:
        """Update the bar.

        Args:
            number: The round's number, from 1.
            done: How many trials of the round are finished.
            waiting: Whether this process waits for the trials of others.
        """
        if self._bar is not None:
            before = (number - 1) * self._settings.trials
            state = "waiting for other processes" if waiting and done < self._settings.trials else ""
            description = f"round {number} of {self._settings.rounds}"
            self._bar.update(self._task, completed=before + done, description=description, state=state)

    def round(self, number: int, trials: Sequence[Trial], narrowings: Sequence[Narrowing]) -> None:
        """Print the result of a finished round, and what became of the ranges."""
        own = [trial for trial in trials if trial.round == number]
        counts = {state: sum(trial.state == state for trial in own) for state in ("failed", "pruned")}
        notes = "".join(f", {count} {state}" for state, count in counts.items() if count)
        best = ranked(own, self._settings.metric)
        found = f", best {self._settings.metric} {best[0].score:.4f} (trial {best[0].number})" if best else ""
        self.line(f"round {number} of {self._settings.rounds}: {len(own)} trials{notes}{found}")
        for trial in [trial for trial in own if trial.state == "failed"][:1]:
            self.line(f"  trial {trial.number} failed: {trial.reason}")
        for narrowing in narrowings:
            if not narrowing.old.single:
                self.line(f"  {narrowing}")
