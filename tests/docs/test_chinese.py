"""The Chinese first page and tutorial hold what the English ones hold."""

import os
import re

import pytest
from tutorial import CHINESE, PAGES, ROOT

PAIRS = [(ROOT / "README.md", ROOT / "README.zh-CN.md"), *((page, CHINESE / page.name) for page in PAGES)]


@pytest.mark.parametrize(("english", "chinese"), PAIRS, ids=lambda path: path.stem)
def test_both_languages_hold_the_same(english, chinese):
    ours, theirs = (path.read_text(encoding="utf-8") for path in (english, chinese))
    assert code(theirs) == code(ours)
    assert outline(theirs) == outline(ours)
    assert links(chinese, theirs) == links(english, ours)


def test_the_first_page_has_the_same_numbers():
    ours, theirs = (numbers(path.read_text(encoding="utf-8")) for path in PAIRS[0])
    assert theirs == ours


def test_every_chinese_page_has_an_english_one():
    assert sorted(path.name for path in CHINESE.iterdir()) == sorted(page.name for page in PAGES)


def code(text):
    """Return the blocks of a page that are not to be translated, with what they print: all but the formulas."""
    return re.findall(r"^```(?:python|sh|console)\n.*?^```\n(?:\n```text\n.*?^```\n)?", text, re.MULTILINE | re.DOTALL)


def prose(text):
    """Return a page without its blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def outline(text):
    """Return the marks at the beginnings of the lines that are headings, items, rows, pictures or folded answers."""
    return re.findall(r"^(#+|- |\||!|<details|<summary)", prose(text), re.MULTILINE)


def links(path, text):
    """Return where a page's links and pictures lead, in order of the alphabet, as if all were English."""
    found = []
    for target in re.findall(r"\]\(([^)]+)\)", prose(text)):
        elsewhere = target.startswith("https:")
        place = target if elsewhere else os.path.relpath(path.parent / target, ROOT).replace(os.sep, "/")
        found.append(place.replace("docs/zh-CN/", "docs/").replace("README.zh-CN", "README"))
    return sorted(found)


def numbers(text):
    """Return the numbers in a page's prose, in order of size."""
    return sorted(re.findall(r"(?<![\w.])\d[\d.,x-]*\d", re.sub(r"\]\([^)]*\)", "]", prose(text))))
