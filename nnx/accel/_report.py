"""What `--verbose` prints."""

import functools
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..backend import active_ops, choose


class Report:
    """Prints to standard error, if wanted, what was replaced or not and why, and at the end what was called."""

    def __init__(self, verbose: bool) -> None:
        self.verbose = verbose
        self.calls: Counter[str] = Counter()
        self.replaced: list[str] = []
        self._counting: list[Any] = []

    def say(self, line: str) -> None:
        if self.verbose:
            print(f"nnx: {line}", file=sys.stderr)

    def replace(self, what: str, by: str) -> None:
        """Report what is replaced, the first time."""
        if what not in self.replaced:
            self.replaced.append(what)
            self.say(f"{what} is replaced by {by}")

    def parts(self, module: str, replaced: Sequence[str], by: str, alone: Mapping[str, str]) -> None:
        """Report which parts of a module of the script's are replaced, and why others are left alone."""
        self.replaced += [f"{module}.{name}" for name in replaced]
        if replaced:
            self.say(f"{module}: {', '.join(sorted(replaced))} replaced by {by}")
        for reason in sorted(set(alone.values())):
            names = ", ".join(sorted(name for name, why in alone.items() if why == reason))
            self.say(f"{module}: {names} left alone: {reason}")

    def count(self, cls: type, *methods: str) -> None:
        """Count the calls of these methods, in a verbose run only."""
        for name in methods if self.verbose else ():
            if (method := getattr(cls, name, None)) is not None and method not in self._counting:
                self._counting.append(self._counted(method, name))
                setattr(cls, name, self._counting[-1])

    def _counted(self, method: Any, name: str) -> Any:
        @functools.wraps(method)
        def counted(own: Any, *args: Any, **kwargs: Any) -> Any:
            self.calls[f"{type(own).__name__}.{name}"] += 1
            return method(own, *args, **kwargs)

        return counted

    def finish(self) -> None:
        """Print the summary after a script."""
        if not self.verbose:
            return
        if not self.replaced:
            self.say("nothing was replaced")
            return
        choice = choose()
        self.say(f"backend {choice.backend.name} ({choice.why})")
        for name, times in self.calls.items():
            self.say(f"{name}: {times} calls in this process (those of worker processes are not counted)")
        declined = active_ops().explain().declined
        for name, times in declined.items():
            self.say(f"{name}: {times} calls took nnx's slower way, since the backend does not take their arrays")
