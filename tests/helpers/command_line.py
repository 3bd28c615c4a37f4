"""The command line in this process."""

import sys
from typing import Any

import pytest

from nnx._support import plots
from nnx.cli import main


def nnx_command(*arguments: Any, figures: bool = True) -> int:
    """Run `nnx ARGUMENTS`; return its exit status. figures: False where they only take time, as without matplotlib."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["nnx", *map(str, arguments)])
        if not figures:
            patch.setattr(plots, "available", lambda: False)
        with pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0)
