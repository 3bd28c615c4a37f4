"""The site holds every page and every public name, builds without warnings, and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import nnx.testing
from nnx.schedules import SCHEDULES

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NAVIGATION = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]


def test_every_page_has_a_place_in_the_navigation():
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert pages <= set(re.findall(r"\S+\.md$", NAVIGATION, re.MULTILINE))


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("nnx", nnx.__all__),
        ("nnx.formula", set(nnx.formula.__all__) - {"FUNCTIONS", "OPERATIONS", "Number"}),
        ("nnx.functions", nnx.functions.__all__),
        ("nnx.lab", set(nnx.lab.__all__) - {"INITS"}),
        ("nnx.schedules", SCHEDULES),
        ("nnx.testing", nnx.testing.__all__),
        ("nnx.tune", nnx.tune.__all__),
    ],
)
def test_every_public_name_is_in_the_reference(module, names):
    written = "\n".join(path.read_text(encoding="utf-8") for path in (DOCS / "reference").glob("*.md"))
    missing = {name for name in names if not re.search(rf"^::: {re.escape(module)}\.{name}\b", written, re.MULTILINE)}
    assert missing == set()


class Loads(HTMLParser):
    """The addresses that a page loads by itself: scripts, styles, pictures, frames; not where its links lead."""

    def __init__(self, page):
        super().__init__()
        self.addresses = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        if tag != "a" and found.get("rel") not in ("canonical", "next", "prev"):
            self.addresses += [found[name] for name in ("src", "srcset", "href", "data", "poster") if found.get(name)]


@pytest.mark.long
def test_it_builds_without_warnings_and_loads_nothing_from_elsewhere(tmp_path):
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        foreign = [address for address in Loads(page).addresses if "//" in address]
        assert foreign == [], page
    assert '<html lang="zh-CN"' in (tmp_path / "zh-CN/tutorial/index.html").read_text(encoding="utf-8")
    for sheet in tmp_path.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheet.read_text(encoding="utf-8")), sheet
