"""Basic checks of the named files, or of all that git tracks: blanks, the last newline, conflict marks, size."""

import re
import subprocess
import sys
from pathlib import Path

LARGEST = 2**20
MARKS = {
    "blanks at the end of a line": re.compile(rb"[ \t]+\r?$", re.MULTILINE),
    "a carriage return": re.compile(rb"\r"),
    "a conflict mark": re.compile(rb"^(?:<{7} |>{7} )", re.MULTILINE),
}


def complaints(path: Path) -> list[str]:
    content = path.read_bytes()
    found = [f"larger than {LARGEST} bytes"] if len(content) > LARGEST else []
    if b"\0" in content[:8000]:
        return found
    for what, mark in MARKS.items():
        if hit := mark.search(content):
            line = content[: hit.start()].count(b"\n") + 1
            found.append(f"{what}, line {line}")
    if content and (not content.endswith(b"\n") or content.endswith(b"\n\n")):
        found.append("does not end with one newline")
    return found


def main() -> int:
    names = (
        sys.argv[1:]
        or subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.splitlines()
    )
    found = [f"{name}: {what}" for name in names if Path(name).is_file() for what in complaints(Path(name))]
    if found:
        print(*found, sep="\n")
    return len(found) > 0


if __name__ == "__main__":
    sys.exit(main())
