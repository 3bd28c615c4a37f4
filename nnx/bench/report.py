"""A report in JSON that is written anew after every result: whoever stops the measuring keeps what was measured."""

import json
import os
from pathlib import Path
from typing import Any


class Report(dict[str, Any]):
    """What is known so far; `write` after each change. "complete", its first entry, is false until the end.

    path: the file, or None to keep it in memory alone.
    """

    def __init__(self, path: Path | None) -> None:
        super().__init__(complete=False)
        self._path = path

    def write(self) -> None:
        """The file is the report before or this one, whole, whenever the process is killed. Raises OSError."""
        if self._path is None:
            return
        unfinished = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        unfinished.write_text(json.dumps(self, indent=2) + "\n")
        os.replace(unfinished, self._path)

    def add(self, section: str, name: str, result: Any) -> None:
        """One result of a section, written at once."""
        self.setdefault(section, {})[name] = result
        self.write()

    def finish(self) -> None:
        """Nothing more will come."""
        self["complete"] = True
        self.write()
