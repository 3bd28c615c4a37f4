"""What a printing of the book has that `nnx/accel/printings.toml` does not know yet.

    python tests/accel/printings.py CHECKOUT...

CHECKOUT: a folder with the book's modules, somewhere in it; of a git repository every commit is looked at. Nothing is
run. Each unknown state of a function, class or constant that the file has by name is printed as a line for the file,
with the place where it stands and what it changes in the nearest known state, if one of the checkouts has that: for a
person to judge whether nnx computes the same, needs an adapter, or has to leave it alone.
"""

import ast
import difflib
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from nnx.accel._printings import definitions, fingerprint, published

Text = tuple[str, str]
"""Where a version of a file stands, and what it is."""


def versions(checkout: Path) -> Iterator[Text]:
    """All Python files of a folder, and of a git repository also what they were."""
    for path in sorted(checkout.rglob("*.py")):
        yield str(path), path.read_text(encoding="utf-8", errors="replace")

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, check=False)
        return done.stdout.decode("utf-8", "replace")

    seen = set()
    for line in git("log", "--all", "--raw", "--no-abbrev", "--no-renames", "--format=", "-m").splitlines():
        fields, _, path = line.partition("\t")
        blob = fields.split()[3]
        if path.endswith(".py") and blob.strip("0") and blob not in seen:
            seen.add(blob)
            yield f"{checkout}:{path} {blob[:10]}", git("cat-file", "blob", blob)


def module_of(place: str) -> str | None:
    """Which of the book's modules a file is, by its path."""
    parts = Path(place.split(".py")[0]).parts
    return next((name for name in (".".join(parts[-2:]), parts[-1]) if name in published()), None)


def states(checkouts: list[Path]) -> dict[tuple[str, str, str], Text]:
    """The first place and the plain text of every state, by module, name and fingerprint."""
    found: dict[tuple[str, str, str], Text] = {}
    for checkout in checkouts:
        for place, text in versions(checkout):
            module = module_of(place)
            try:
                tree = ast.parse(text) if module else ast.Module([], [])
            except SyntaxError:
                continue
            for name, node in definitions(tree).items():
                if module and name in published()[module]:
                    found.setdefault((module, name, fingerprint(node)), (place, ast.unparse(node)))
    return found


def main() -> None:
    """Print what is not known."""
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    warnings.simplefilter("ignore", SyntaxWarning)
    found = states([Path(path) for path in sys.argv[1:]])
    for (module, name, key), (place, text) in sorted(found.items()):
        known = published()[module][name]
        if key in known:
            continue
        near = [other for (m, n, k), (_, other) in found.items() if (m, n) == (module, name) and k in known]
        nearest = max(near, default="", key=lambda other: difflib.SequenceMatcher(None, other, text).ratio())
        changes = difflib.unified_diff(nearest.splitlines(), text.splitlines(), lineterm="", n=0)
        print(f"# {place}\n[{module}] {name}.{key} = ...")
        print("\n".join(line for line in changes if not line.startswith(("---", "+++", "@@"))), end="\n\n")


if __name__ == "__main__":
    main()
