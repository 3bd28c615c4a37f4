"""What a terminal of some columns shows: no line is longer, so that no word is cut."""

import os
import re
import struct
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.long, pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")]

COMMANDS = [
    "train --epochs 2 --hidden 20 --weight-decay 0.001 --optimizer sgd --lr 1e-9",
    "train --resume",
    "report runs/digits",
    "export runs/digits digits.onnx",
    "backends",
    "lab activations",
    "lab gradient",
    "lab gradient-check --hidden 9,8 --batchnorm",
    "lab optimizers --epochs 1 --hidden 10",
    "lab init --epochs 1",
    "lab batchnorm --epochs 1 --hidden 10",
    "lab overfit --epochs 5",
    "lab rates --epochs 1",
    "lab lr-find",
    "lab inspect runs/digits",
    "tune lr=log:1e-4..1e-1 dropout=0..0.5 hidden=20 --trials 3 --rounds 2 --epochs 1",
    "predict runs/digits nothing.png",
    "train --dropout 50",
]
CODE = """
import sys
from nnx.cli import main

for command in sys.argv[1:]:
    sys.argv = ["nnx", *command.split()]
    print("$", command[:50])
    try:
        main()
    except SystemExit:
        pass
"""


def shown(columns: int) -> list[str]:
    """Return the lines that a terminal of so many columns is sent, without what a bar draws."""
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "CI")}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, *COMMANDS],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment | {"NNX_BACKEND": "numpy", "TERM": "xterm"},
    )
    os.close(theirs)
    sent = b""
    try:
        while part := os.read(ours, 65536):
            sent += part
    except OSError:  # Linux: the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent.decode())
    return [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]


@pytest.mark.parametrize("columns", [60, 80])
def test_no_line_is_wider_than_the_terminal(columns, here, monkeypatch):
    lines = shown(columns)
    whole = [line for line in lines if line.startswith(("  nnx ", "on one page: nnx"))]  # commands to be copied
    assert [line for line in lines if len(line) > columns and line not in whole] == []
    text = "\n".join(lines)
    for command in COMMANDS:
        assert f"$ {command[:50].rstrip()}" in text
    said = " ".join(text.split())
    assert "the network has not learned: accuracy" in said
    assert "nnx: --dropout: got 50.0" in said
    assert "finished already, after 2 epochs" in said
    assert "train it for longer, with: nnx train --config runs/tune-digits/best.json --epochs 5" in said
