"""The import hook: it comes before the other finders, and changes nothing but what it is asked to replace."""

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from . import _adapters, _printings
from ._parts import look
from ._report import Report

BOOK = {
    f"common.{name}": f"nnx.book.{name}"
    for name in (
        "functions",
        "gradient",
        "layers",
        "multi_layer_net",
        "multi_layer_net_extend",
        "optimizer",
        "trainer",
        "util",
    )
} | {"dataset.mnist": "nnx.book.mnist", "simple_convnet": "nnx.book.simple_convnet"}
BOOK["deep_convnet"] = "nnx.book.deep_convnet"
_ADAPTED = {"two_layer_net"}
"""Modules beside scripts of which nnx has none of its own: adapters stand for parts of them."""
_PACKAGES = {"common", "dataset"}
_NETWORKS, _OURS = "sklearn.neural_network", "nnx.sklearn"
_CLASSES = ("MLPClassifier", "MLPRegressor")


class Accelerator(MetaPathFinder):
    """Finds nnx's modules where the book's are absent; replaces what is the book's or scikit-learn's after its import.

    Args:
        sklearn: Whether to replace scikit-learn's classes.
        book: Whether to replace the book's functions and classes.
        report: Where to report what is replaced, and what is not.
    """

    def __init__(self, *, sklearn: bool, book: bool, report: Report) -> None:
        self.sklearn, self.book, self.report = sklearn, book, report
        self._originals: list[tuple[ModuleType, str, Any]] = []
        self._placed: list[str] = []
        self._given: dict[str, list[Any]] = {}

    def install(self) -> None:
        sys.meta_path.insert(0, self)
        if self.book:
            for name in sorted((BOOK.keys() | _ADAPTED) & sys.modules.keys()):
                self.report.say(f"{name} is not replaced: it was imported before")
        if self.sklearn and _NETWORKS in sys.modules:
            self._replace_classes()

    def uninstall(self) -> None:
        sys.meta_path.remove(self)
        for module, name, original in self._originals:
            setattr(module, name, original)
        for name in self._placed:
            sys.modules.pop(name, None)
            parent, _, child = name.rpartition(".")
            if child in vars(sys.modules.get(parent, sys)):
                delattr(sys.modules[parent], child)

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if self.book and (name in BOOK or name in _PACKAGES or name in _ADAPTED):
            return self._book(name, path, target)
        if self.sklearn and name in (_NETWORKS, _OURS):
            spec = self._original(name, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = _Followed(spec.loader, self._replace_classes)
            return spec
        return None

    def _original(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        """Find what would be found without this finder."""
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(name, path, target)) is not None:
                return spec
        return None

    # The book ---------------------------------------------------------------------------------------------------------

    def _book(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        found = self._original(name, path, target)
        if name in _PACKAGES:
            if found is not None or not _imported_for_a_module(name):
                return found
            return self._placing(name, ModuleType(name), package=True)
        if found is None:
            package = name.rpartition(".")[0]
            if name not in BOOK or (package and package not in self._placed):
                return None
            own = importlib.import_module(BOOK[name])
            for part in own.__all__:
                self._given.setdefault(part, []).append(getattr(own, part))
            self.report.replace(name, BOOK[name])
            return self._placing(name, own)
        if name in _printings.published() and found.loader is not None and found.has_location:
            found.loader = _Followed(found.loader, lambda: self._replace_parts(sys.modules[name]))
        return found

    def _replace_parts(self, module: ModuleType) -> None:
        """Put nnx's functions and classes in the places of those of a module that are the book's."""
        name = module.__name__
        by = BOOK.get(name, "nnx.accel")
        own = importlib.import_module(by)
        found = look(module, self._given)
        self._placed.append(name)
        if name == "dataset.mnist" and (reason := _their_data(module, found.known)):
            self.report.say(f"{name} ({module.__file__}) stays the script's: {reason}")
            return
        replaced = []
        for part, state in found.known.items():
            original = vars(module)[part]
            if part.startswith("_") or not callable(original):
                continue
            ours = getattr(_adapters, state.by)(module, original) if state.by else getattr(own, part)
            self._originals.append((module, part, original))
            self._given.setdefault(part, []).append(ours)
            setattr(module, part, ours)
            replaced.append(part)
        self.report.parts(f"{name} ({module.__file__})", replaced, by, found.alone)

    def _placing(self, name: str, module: ModuleType, package: bool = False) -> ModuleSpec:
        self._placed.append(name)
        return ModuleSpec(name, _Given(module), is_package=package)

    # scikit-learn -----------------------------------------------------------------------------------------------------

    def _replace_classes(self) -> None:
        """Replace the classes, once both scikit-learn's module and nnx's have been executed."""
        networks = sys.modules[_NETWORKS] if _NETWORKS in sys.modules else importlib.import_module(_NETWORKS)
        try:
            own = importlib.import_module(_OURS)
            classes = [getattr(own, name) for name in _CLASSES]
        except (ImportError, AttributeError) as error:
            if not getattr(getattr(sys.modules.get(_OURS), "__spec__", None), "_initializing", False):
                self.report.say(f"{_NETWORKS} is not replaced: {error}")
            return
        implementation = sys.modules.get(f"{_NETWORKS}._multilayer_perceptron")
        for name, cls in zip(_CLASSES, classes, strict=True):
            for module in (networks, implementation):
                original = getattr(module, name, None)
                if module is not None and original is not None and original is not cls:
                    self._originals.append((module, name, original))
                    setattr(module, name, cls)
            self.report.count(cls, "fit", "partial_fit", "predict", "predict_proba")
            self.report.replace(f"{_NETWORKS}.{name}", f"{_OURS}.{name}")


def _their_data(module: ModuleType, known: Iterable[str]) -> str | None:
    """Return why `dataset.mnist` is left to load its data itself, or None if nnx's is to find them."""
    if not {"load_mnist", "save_file", "key_file"} <= set(known):
        return "not as in any published state"
    folder = Path(module.dataset_dir)
    if Path(module.save_file).exists() or all((folder / file).exists() for file in module.key_file.values()):
        return f"its data are in {folder}"
    return None


def _imported_for_a_module(package: str) -> bool:
    """Return whether the current import is of one of the book's modules, and not of a package by this name alone.

    A finder is not told: a module's name is where Python's import system calls itself for the module's package.
    """
    frame: FrameType | None = sys._getframe()  # noqa: SLF001  its documented name
    while frame is not None and str(frame.f_globals.get("__name__")).startswith(("importlib", __name__)):
        name = frame.f_locals.get("name")
        if name in BOOK and name.startswith(f"{package}."):
            return True
        frame = frame.f_back
    return False


class _Given(Loader):
    """Loads a module that exists already."""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        if self._spec is not None:  # the module stays what it is under its own name
            module.__spec__ = self._spec


class _Followed(Loader):
    """Wraps a loader to call a function once its module has been executed."""

    def __init__(self, loader: Any, then: Callable[[], None]) -> None:
        self._loader, self._then = loader, then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        self._then()
