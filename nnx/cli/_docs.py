"""`nnx docs`: the pages of the documentation in the terminal."""

import sys
from typing import Annotated, get_args

import typer

from .._support.pages import Page, file_of
from ..errors import unknown
from ._app import command


@command("nnx docs", "nnx docs tables")
def docs(page: Annotated[str | None, typer.Argument(metavar="[PAGE]", help="Name of a page.")] = None) -> None:
    """Show a page of the documentation, or the list of the pages.

    Messages name the page that helps. Where the output is no terminal, pages are printed as they are, in Markdown.
    """
    names = get_args(Page)
    if page is None:
        for name in names:
            title = file_of(name).read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
            print(f"{name:<20}{title}")
        return
    if page not in names:
        raise unknown("page", page, names)
    text = file_of(page).read_text(encoding="utf-8")
    if not sys.stdout.isatty():
        print(text, end="")
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))
