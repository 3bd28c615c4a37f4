"""What stands in two places agrees: the lock file, the recipes of `make`, the version."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def direct(texts):
    """Requirements of pyproject.toml, with those of nnx's own extras in their place."""
    for requirement in map(Requirement, texts):
        if requirement.name == PROJECT["name"]:
            for extra in requirement.extras:
                yield from direct(PROJECT["optional-dependencies"][extra])
        else:
            yield requirement


def test_the_lock_file_is_in_step():
    text = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    locked, asked_for = {}, set()
    for name, version, more in re.findall(r"^(\S+)==([^\s;]+)(.*(?:\n +.*)*)", text, re.MULTILINE):
        locked.setdefault(name, set()).add(version)
        assert "--hash=sha256:" in more
        if "nnx-array (pyproject.toml)" in more:
            asked_for.add(name)
    wanted = list(direct([*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]))
    assert asked_for == {canonicalize_name(requirement.name) for requirement in wanted}, "run make lock"
    for requirement in wanted:
        for version in locked[canonicalize_name(requirement.name)]:
            assert version in requirement.specifier, f"{requirement}, but {version} is locked: run make lock"
    assert "://" not in text, "the address of an index"


def test_make_help_names_the_recipes():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    recipes = set(re.findall(r"^([\w-]+):", text, re.MULTILINE))
    assert set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split()) == recipes
    assert set(re.findall(r'@echo "make ([\w-]+)', text)) == recipes - {"help"}


def test_the_version_is_the_same_everywhere():
    assert (
        re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)[1]
        == PROJECT["version"]
    )
    assert (
        re.search(r"^## ([\d.]+), ", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1]
        == PROJECT["version"]
    )
