"""The pages of the documentation that come with nnx: `nnx docs NAME` shows one, and messages name them by `see`."""

from pathlib import Path
from typing import Literal

Page = Literal[
    "backends",
    "command-line",
    "conformance",
    "data-from-disk",
    "environment",
    "extending",
    "interop",
    "lab",
    "my-pictures",
    "my-scripts",
    "pictures",
    "resume",
    "scale",
    "sklearn",
    "speed",
    "tables",
    "training",
    "tune",
    "writing-a-backend",
]

_PACKAGE = Path(__file__).parents[1]
_FOLDERS = (_PACKAGE / "_docs", _PACKAGE.parent / "docs")
"""In an installed nnx, and in a checkout."""


def see(page: Page) -> str:
    """Return the sentence that names a page, for the end of a message."""
    return f"See `nnx docs {page}`."


def file_of(page: str) -> Path:
    """Return the Markdown file of a page."""
    places = [folder / f"{page}.md" for folder in _FOLDERS]
    return next((place for place in places if place.is_file()), places[0])
