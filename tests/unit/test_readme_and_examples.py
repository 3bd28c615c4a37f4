"""What README and examples tell users to run, runs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_quick_start_is_one_block_of_two_lines():
    section = README.split("## Quick start")[1].split("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    first, second = block.splitlines()
    assert first.endswith("nnx train")
    assert second.endswith("pytest")
    assert all(line.startswith("python3 -m venv .venv && ") for line in (first, second))


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_python_of_the_readme(code, tmp_path):
    run([sys.executable, "-W", "error", "-c", code], tmp_path)


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_example(script, tmp_path):
    out = run([sys.executable, "-W", "error", str(script)], tmp_path)
    accuracy = re.findall(r"test accuracy (\d\.\d+)", out)[-1]
    assert float(accuracy) > 0.95


def run(command, folder):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
