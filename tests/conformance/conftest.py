"""Backends that have nothing but the required members, and pytest in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from plugins import install


class MembersOnly:
    """NumPy without one operation of its own: whatever runs on it is the compositions."""

    name = "members-only"
    xp: Any = np

    @classmethod
    def unavailable(cls) -> str | None:
        return None

    def to_device(self, host: Any, /) -> Any:
        assert type(host) is np.ndarray, "the contract: never a scalar"
        return host

    def to_host(self, array: Any, /) -> Any:
        return np.asarray(array)

    def matmul(self, a: Any, b: Any, /, *, out: Any = None) -> Any:
        return np.matmul(a, b, out=out)

    def synchronize(self) -> None:
        pass

    def device_info(self) -> dict[str, str]:
        return {"device": "CPU"}


@pytest.fixture
def members_only() -> type[MembersOnly]:
    """The class, to make a backend from or to add operations to."""
    return MembersOnly


@pytest.fixture(scope="session")
def toy_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory to import from, in which the third-party plugin `tests/toy_plugin` is installed."""
    site = tmp_path_factory.mktemp("toy-site")
    install(Path(__file__).parents[1] / "toy_plugin", site)
    return site


@pytest.fixture
def wrong_site(tmp_path: Path) -> Path:
    """A directory with a plugin that has a wrong operation and one that raises; it needs `toy_site`, too."""
    source, site = tmp_path / "wrong-source", tmp_path / "wrong-site"
    source.mkdir()
    (source / "pyproject.toml").write_text(
        '[project]\nname = "nnx-wrong"\nversion = "1.0"\n'
        '[project.entry-points."nnx.backends"]\nwrong = "nnx_wrong:WrongBackend"\n'
    )
    (source / "nnx_wrong.py").write_text(
        "from nnx_toy import ToyBackend\n"
        "class WrongBackend(ToyBackend):\n"
        "    name = 'wrong'\n"
        "    def activation(self, formula, x, *, out=None):\n"
        "        if x.dtype == 'float32':\n"
        "            return super().activation(formula, x, out=out)\n"
        "        return self.xp.positive(x, out=out)\n"
        "    def softmax(self, x, *, out=None):\n"
        "        raise RuntimeError('not done yet')\n"
    )
    install(source, site)
    return site


Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_python(tmp_path: Path) -> Run:
    """`run_python("-m", "pytest", ..., path=[...])`: Python in an empty directory, with more to import from."""

    def run(*args: str, path: tuple[Path, ...] = ()) -> "subprocess.CompletedProcess[str]":
        directory = tmp_path / "elsewhere"
        directory.mkdir(exist_ok=True)
        # Whatever this process can import, installed or not, and no pytest plugins but nnx.testing.
        search = os.pathsep.join([*map(str, path), *(p for p in sys.path if p)])
        environment = os.environ | {"PYTHONPATH": search, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
        return subprocess.run(
            [sys.executable, "-W", "error", *args],
            cwd=directory, env=environment, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run
