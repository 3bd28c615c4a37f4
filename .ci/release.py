"""Say whether the tag, the version and the changelog agree: python .ci/release.py v1.2.3 (docs/releasing.md)."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    heading = re.search(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1]
    wrong = []
    if sys.argv[1:] != [f"v{version}"]:
        wrong.append(f"the tag is {sys.argv[1:]}, expected v{version}, as pyproject.toml says")
    if not re.fullmatch(rf"{re.escape(version)}, \d{{4}}-\d\d-\d\d", heading):
        wrong.append(f"CHANGELOG.md begins with {heading!r}, expected '{version}, ' and the date of the release")
    if f"\nversion: {version}\n" not in citation:
        wrong.append(f"CITATION.cff has another version than {version}")
    sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
