"""The command line in this process."""

import sys
from typing import Any

import pytest

from nnx.cli import main


def nnx_command(*arguments: Any) -> int:
    """Run `nnx ARGUMENTS`; return its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nnx", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0)
