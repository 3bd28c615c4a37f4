"""The import hook: it comes before the other finders, and changes nothing but what it is asked to replace."""

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from ._networks import network_difference
from ._outline import difference
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
} | {"dataset.mnist": "nnx.book.mnist"}
BOOK_NETWORKS = {"simple_convnet": "SimpleConvNet", "deep_convnet": "DeepConvNet"}
_PACKAGES = {name.partition(".")[0] for name in BOOK}
_NETWORKS, _OURS = "sklearn.neural_network", "nnx.sklearn"
_CLASSES = ("MLPClassifier", "MLPRegressor")


class Accelerator(MetaPathFinder):
    """Finds nnx's modules in place of the book's, and replaces classes in scikit-learn's module after its import.

    Args:
        sklearn: Whether to replace scikit-learn's classes.
        book: Whether to replace the book's modules.
        report: Where to report what is replaced, and what is not.
    """

    def __init__(self, *, sklearn: bool, book: bool, report: Report) -> None:
        self.sklearn, self.book, self.report = sklearn, book, report
        self._originals: list[tuple[ModuleType, str, Any]] = []
        self._placed: list[str] = []

    def install(self) -> None:
        sys.meta_path.insert(0, self)
        if self.book:
            for name in (BOOK.keys() | BOOK_NETWORKS.keys()) & sys.modules.keys():
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
        if self.book and (name in BOOK or name in _PACKAGES):
            return self._book(name, path, target)
        if self.book and name in BOOK_NETWORKS:
            return self._network(name, path, target)
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
        absent = name.partition(".")[0] in self._placed
        if found is None and not absent:
            return None
        own = importlib.import_module(BOOK[name])
        if found is not None:
            file = Path(found.origin or "")
            if (reason := difference(file, own)) is not None:
                self.report.say(f"{name} ({file}) is not replaced: {reason}")
                return found
            if name == "dataset.mnist":
                vars(own)["dataset_dir"] = file.parent
        self.report.replace(name, BOOK[name] if absent else f"{BOOK[name]} ({file} is the book's)")
        return self._placing(name, own)

    def _network(self, name: str, path: Sequence[str] | None, target: ModuleType | None) -> ModuleSpec | None:
        """Find the script's module, whose class is then replaced if it is the book's; nnx's where there is none."""
        found = self._original(name, path, target)
        if found is None:
            self.report.replace(name, f"nnx.book.{name}")
            return self._placing(name, importlib.import_module(f"nnx.book.{name}"))
        if found.loader is not None and found.has_location:
            found.loader = _Followed(found.loader, lambda: self._replace_network(name))
        return found

    def _replace_network(self, name: str) -> None:
        module, own, cls = sys.modules[name], importlib.import_module(f"nnx.book.{name}"), BOOK_NETWORKS[name]
        if (reason := network_difference(module, cls, own)) is not None:
            self.report.say(f"{name} ({module.__file__}) is not replaced: {reason}")
            return
        self._originals.append((module, cls, getattr(module, cls)))
        setattr(module, cls, getattr(own, cls))
        self.report.replace(f"{name}.{cls}", f"nnx.book.{name}.{cls} ({module.__file__} is the book's)")

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
