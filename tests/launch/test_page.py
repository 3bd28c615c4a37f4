"""What docs/scale.md says is what a new user sees, under both MPIs."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from mpi import MPIS, python_of
from pages import blocks_of

from nnx.launch.rank import THREADS

PAGE = Path(__file__).parents[2] / "docs" / "scale.md"


@pytest.mark.long
@pytest.mark.parametrize("mpi", MPIS)
def test_the_script_and_the_commands_of_the_page_train(mpi, tmp_path):
    python = Path(python_of(mpi))
    blocks = list(blocks_of(PAGE.read_text(encoding="utf-8")))
    (script,) = [block.text for block in blocks if block.language == "python"]
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    lines = [line for block in blocks if block.language == "sh" for line in block.text.splitlines()]
    commands = [line for line in lines if line.startswith("nnx launch") and "--host" not in line]
    assert len(commands) == 4
    environment = {name: value for name, value in os.environ.items() if name not in THREADS}
    for command in commands:
        words = [str(python), "-m", "nnx", *shlex.split(command)[1:]]
        done = subprocess.run(
            words, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=150, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "[rank" not in done.stdout
        shown = "microseconds a message" if "--probe" in command else "test accuracy 0."
        assert done.stdout.count(shown) == 1, done.stdout
        (tmp_path / "digits.safetensors").unlink(missing_ok=True)
