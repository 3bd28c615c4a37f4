"""Running a script, a module or standard input as `python` would."""

import builtins
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from types import CodeType, ModuleType, TracebackType

from .._support import room

_INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended


def run_script(script: str, arguments: Sequence[str]) -> int:
    """Run a script's text as `__main__` with these arguments ("-" is standard input); return the exit status."""
    if script == "-":
        return _run(_as_main("<stdin>", None, sys.stdin.buffer.read), ["-", *arguments], "")
    try:
        with open(script, "rb") as file:
            text = file.read()
    except OSError as error:
        print(f"nnx run: can't open file {os.path.abspath(script)!r}: {error.strerror}", file=sys.stderr)
        return 2
    path = os.path.abspath(script)
    return _run(_as_main(script, path, lambda: text), [script, *arguments], os.path.dirname(os.path.realpath(script)))


def run_module(name: str, arguments: Sequence[str]) -> int:
    """Run a module as `python -m` does; return the exit status."""

    def run() -> None:
        runpy.run_module(name, run_name="__main__", alter_sys=True)

    return _run(run, [name, *arguments], os.getcwd())


def _as_main(filename: str, path: str | None, read: Callable[[], bytes]) -> Callable[[], None]:
    def run() -> None:
        main = ModuleType("__main__")
        main.__dict__.update(__builtins__=builtins, __cached__=None)
        if path is not None:
            main.__file__ = path
        sys.modules["__main__"] = main
        code: CodeType = compile(read(), path or filename, "exec", dont_inherit=True)
        exec(code, main.__dict__)

    return run


def _run(run: Callable[[], None], argv: list[str], folder: str) -> int:
    sys.argv[:] = argv
    sys.path[0] = folder
    try:
        room.roomy(run)()
    except SystemExit as end:
        return _status(end.code)
    except KeyboardInterrupt as error:
        _show(error)
        return _INTERRUPTED
    except BaseException as error:
        _show(error)
        return 1
    return 0


def _status(code: object) -> int:
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


def _show(error: BaseException) -> None:
    """Print the traceback without nnx's frames, through the script's own hook if it has set one."""
    traceback = error.__traceback__
    while traceback is not None and _is_ours(traceback):
        traceback = traceback.tb_next
    sys.excepthook(type(error), error.with_traceback(traceback), traceback)


def _is_ours(traceback: TracebackType) -> bool:
    file = traceback.tb_frame.f_code.co_filename
    return file in (__file__, room.__file__) or file.startswith("<frozen runpy")
