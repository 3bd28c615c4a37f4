"""The kit under pytest: one test for each check, such as `affine[float32-odd-sizes]`, and a summary."""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from ..backend import get_backend
from ..errors import NnxError
from ..ops import Ops
from ._failure import is_verdict, own_traceback
from ._kit import Check, Report, Result, checks


class Kit(pytest.Collector):
    """The parent of the kit's tests: they have no file."""

    ops: Ops
    results: list[Result]

    def collect(self) -> Iterator["KitItem"]:
        for check in checks():
            yield KitItem.from_parent(self, name=check.name, check=check)


class KitItem(pytest.Item):
    def __init__(self, *, check: Check, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.check = check

    def runtest(self) -> None:
        kit = self.parent
        assert isinstance(kit, Kit)
        start, error = perf_counter(), None
        try:
            self.check.run(kit.ops)
        except Exception as failure:
            error = str(failure)
            raise
        finally:
            kit.results.append(Result(self.check, error, perf_counter() - start))

    def reportinfo(self) -> tuple[Path, None, str]:
        """Give the check's name, which becomes the heading of a failure."""
        return self.path, None, self.check.name

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        """Show a failed check's message alone, and of any other exception the traceback within the backend."""
        kit = self.parent
        assert isinstance(kit, Kit)
        return str(excinfo.value) if is_verdict(excinfo.value) else own_traceback(excinfo.value, kit.ops.backend)


class ConformancePlugin:
    """Adds the kit's tests to the session; without paths on the command line they are the only ones."""

    def __init__(self, config: pytest.Config, name: str) -> None:
        try:
            self.ops = Ops(get_backend(name))
        except NnxError as error:
            raise pytest.UsageError(str(error)) from error
        self.results: list[Result] = []
        if config.args_source is not config.ArgsSource.ARGS:
            config.args = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        kit = Kit.from_parent(session, name="nnx.testing", nodeid="nnx.testing")
        kit.ops, kit.results = self.ops, self.results
        items.extend(session.genitems(kit))

    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        if self.results:
            terminalreporter.section("nnx conformance")
            terminalreporter.write_line(Report(self.ops.explain(), tuple(self.results)).summary())
