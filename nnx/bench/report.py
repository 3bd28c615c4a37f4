"""A report in JSON that is rewritten after every result: if the benchmark is stopped, what was measured is kept."""

import json
import os
from pathlib import Path
from typing import Any


class Report(dict[str, Any]):
    """The results so far; call `write` after each change.

    "complete", the first entry, is false until the end.

    Args:
        path: The file; None to keep the report in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        super().__init__(complete=False)
        self._path = path

    def write(self) -> None:
        """Replace the file atomically: whenever the process is killed, the file holds one whole report.

        Raises:
            OSError: If the file cannot be written.
        """
        if self._path is None:
            return
        unfinished = self._path.with_name(f"{self._path.name}.{os.getpid()}.new")
        unfinished.write_text(json.dumps(self, indent=2) + "\n")
        os.replace(unfinished, self._path)

    def add(self, section: str, name: str, result: Any) -> None:
        """Add one result to a section, and write the report."""
        self.setdefault(section, {})[name] = result
        self.write()

    def finish(self) -> None:
        """Mark the report as complete, and write it."""
        self["complete"] = True
        self.write()
