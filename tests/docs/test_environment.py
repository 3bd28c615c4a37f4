"""docs/environment.md names every variable that nnx reads, every extra, and every file that it writes."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/environment.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def in_first_column(section):
    """What the first column of a section's tables has between backticks."""
    rows = re.findall(r"^\| (.*?) \|", SECTIONS[section], re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


def names_in_the_sources():
    """Every text in the sources that is the name of an environment variable."""
    known = re.compile(r"(NNX|NUMBA|XDG|OPENBLAS|OMP|MKL|CUDA|NVIDIA|OMPI|PMI|PMIX|MPI|SLURM|PBS|LSB)_[A-Z0-9_]+")
    for folder in ("nnx", "backends", "kernels"):
        for path in (ROOT / folder).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and known.fullmatch(node.value):
                    yield node.value


@pytest.mark.slow
def test_every_variable_is_on_the_page():
    asked = re.compile(r"environ(?:\.get|\.setdefault|\.pop)?[\[(]\s*\"(\w+)\"|getenv\(\s*\"(\w+)\"")
    found = set(names_in_the_sources())
    for folder in ("nnx", "backends", "kernels"):
        for path in (ROOT / folder).rglob("*.py"):
            found |= {name or other for name, other in asked.findall(path.read_text(encoding="utf-8"))}
    assert len(found) > 15
    assert in_first_column("Environment variables") == found | {"NUMBA_CACHE_DIR"}  # which Numba reads


def test_every_extra_is_on_the_page():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert in_first_column("Extras") == set(project["optional-dependencies"])


@pytest.mark.long
def test_every_file_that_the_commands_write_is_on_the_page(tmp_path):
    home, work, kernels = tmp_path / "home", tmp_path / "work", tmp_path / "kernels"
    home.mkdir()
    work.mkdir()
    variables = {"HOME": home, "USERPROFILE": home, "LOCALAPPDATA": home / "AppData", "NUMBA_CACHE_DIR": kernels}
    environment = {k: v for k, v in os.environ.items() if k not in ("XDG_CACHE_HOME", "NNX_BACKEND")}
    environment |= {name: str(place) for name, place in variables.items()}
    environment |= {
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "MPLCONFIGDIR": str(tmp_path / "matplotlib"),
    }
    for command in (
        "train --epochs 2",
        "report runs/digits",
        "lab rates --epochs 1",
        "tune lr=log:1e-4..1e-1 --trials 2 --rounds 1 --epochs 1",
        "report runs/tune-digits",
    ):
        done = subprocess.run(
            [sys.executable, "-m", "nnx", *command.split()],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert any(kernels.rglob("*"))
    assert [path for path in home.rglob("*") if path.is_file()] == []
    written = {path.relative_to(work) for path in work.rglob("*") if path.is_file()}
    assert {path.parent.as_posix() for path in written} == {"runs/digits", "runs/tune-digits", "lab/rates"}
    named = set(re.findall(r"`([\w.-]+\.\w+)`", SECTIONS["Files"]))
    assert {path.name for path in written} <= named
