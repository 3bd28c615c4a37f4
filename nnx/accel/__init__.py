"""Unchanged scripts on nnx: scikit-learn's MLP and the book's modules are replaced before a script imports them.

`nnx run SCRIPT` or `python -m nnx.accel SCRIPT` for scripts, `%load_ext nnx.accel` for notebooks, `nnx.accel.install()`
in Python; each works in its own process only. What is replaced:

- `MLPClassifier` and `MLPRegressor` of `sklearn.neural_network`, by `nnx.sklearn`'s;
- the functions and classes of *Deep Learning from Scratch*, in `common.layers` and so on, `simple_convnet` and
  `deep_convnet`, by `nnx.book`'s: each in the script's own module, if its text is that of a published state;
- `load_mnist` of `dataset.mnist`, likewise, where its data are not there;
- those modules as a whole, where there is no package `common` or `dataset`.
"""

from collections.abc import Sequence
from typing import Any

from ._finder import Accelerator
from ._report import Report
from ._script import run_module, run_script

__all__ = ["install", "load_ipython_extension", "run", "uninstall", "unload_ipython_extension"]

_installed: list[Accelerator] = []


def install(*, sklearn: bool = True, book: bool = True, verbose: bool = False) -> None:
    """Replace the modules and classes in this process from now on, in place of an earlier `install`.

    Args:
        sklearn: Whether to replace scikit-learn's classes.
        book: Whether to replace the book's modules.
        verbose: Whether to print on standard error what is replaced, and what is not.
    """
    uninstall()
    accelerator = Accelerator(sklearn=sklearn, book=book, report=Report(verbose))
    accelerator.install()
    _installed.append(accelerator)


def uninstall() -> None:
    """Undo `install`: what is imported from now on is the original. Names that a script has already imported stay."""
    while _installed:
        _installed.pop().uninstall()


def run(script: str, arguments: Sequence[str], *, module: bool = False) -> int:
    """Run a script as `__main__`, and print what `install` was asked to report at its end.

    Args:
        script: Its path, or "-" for standard input; with `module`, a module's name.
        arguments: The script's own.
        module: Whether to run a module, as `python -m` does.

    Returns:
        The exit status.
    """
    status = (run_module if module else run_script)(script, arguments)
    for accelerator in _installed:
        accelerator.report.finish()
    return status


def load_ipython_extension(ipython: Any) -> None:
    """Replace them in a notebook: `%load_ext nnx.accel`."""
    install()


def unload_ipython_extension(ipython: Any) -> None:
    """Undo it in a notebook: `%unload_ext nnx.accel`."""
    uninstall()
