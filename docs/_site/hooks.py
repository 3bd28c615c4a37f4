"""What mkdocs builds beside the pages of docs/.

The README is the first page. Whatever pages link to elsewhere in the repository has a page, too, so that the site needs
no other place: Markdown as such, a source as its code, a folder as the list of its files. The page of the command line
is made from the commands, and a page of the tutorial can be downloaded as a notebook.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from commands import commands_page
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from notebooks import notebook

ROOT = Path(__file__).parents[2]
IN_THE_NAVIGATION = ("README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md", "bench/results/README.md")
COMMANDS = "reference/command-line.md"
TUTORIAL = re.compile(r"(zh-CN/)?tutorial/(\d\d-[\w-]+)\.md")
"""The pages that are offered as notebooks: whether in Chinese, and the name."""
NOTEBOOK = "This page as a notebook", "下载本页的 notebook"

CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()(?!#|[a-z]+:)([^)#\s]+)(#[^)\s]*)?(?=\))")
"""A relative link in Markdown: its path, and its anchor."""
LANGUAGES = {".py": "python", ".toml": "toml", ".cu": "cuda", ".sh": "sh", ".yml": "yaml"}

_origins: dict[str, str] = {}
"""The file or folder of the repository that each generated page shows."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages: for each link, of a page or of a generated one, to what lies outside of docs/."""
    todo = list(IN_THE_NAVIGATION)
    for file in files.documentation_pages():
        todo += targets(file.content_string, f"docs/{file.src_uri}")
    while todo:
        path = todo.pop()
        page = address(path)
        if files.get_file_from_path(page) is None:
            text = shown(path)
            files.append(File.generated(config, page, content=text, inclusion=inclusion(path)))
            _origins[page] = path
            todo += targets(text, path)
    files.append(File.generated(config, COMMANDS, content=commands_page()))
    for file in files.documentation_pages():
        if TUTORIAL.match(file.src_uri):
            name = file.src_uri.replace(".md", ".ipynb")
            files.append(File.generated(config, name, content=notebook(file.content_string)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Let links to files of the repository lead to their pages."""
    path = _origins.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    if path == "README.md":
        page.meta["hide"] = ["navigation"]  # it stands alone in its section
    if found := TUTORIAL.match(page.file.src_uri):
        button = f"[{NOTEBOOK[bool(found[1])]}]({found[2]}.ipynb){{ .md-button download }}"
        markdown = re.sub(r"\A(# .*\n)", rf"\1\n{button}\n", markdown)
    here = PurePosixPath(page.file.src_uri).parent

    def link_to_page(link: re.Match[str]) -> str:
        there = target(link, path)
        return link[0] if there is None else os.path.relpath(address(there), here) + (link[2] or "")

    return replace_links(markdown, link_to_page)


def on_post_page(output: str, page: Page, **_: object) -> str:
    """Name the language of a Chinese page, by which browsers choose the forms of its characters."""
    return output.replace('<html lang="en"', '<html lang="zh-CN"', 1) if "zh-CN" in page.file.src_uri else output


def address(path: str) -> str:
    """Return the page of a file or folder of the repository, or the file within the site that is no page."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path == "README.md":
        return "index.md"
    if path.endswith(".md"):
        return path.replace("/README.md", ".md")
    return f"source/{path}.md"


def inclusion(path: str) -> InclusionLevel:
    """Return whether the page of a file has a place in the navigation."""
    return InclusionLevel.INCLUDED if path in IN_THE_NAVIGATION else InclusionLevel.NOT_IN_NAV


def shown(path: str) -> str:
    """Return the Markdown that shows a file or folder of the repository."""
    there = ROOT / path
    if there.suffix == ".md":
        return there.read_text(encoding="utf-8")
    if there.is_dir():
        names = sorted(file.relative_to(there).as_posix() for file in there.rglob("*") if file.suffix in LANGUAGES)
        text = "".join(f"- [{name}]({name})\n" for name in names)
    else:
        fence = "`" * 5
        text = f"{fence}{LANGUAGES.get(there.suffix, 'text')}\n{there.read_text(encoding='utf-8').rstrip()}\n{fence}\n"
    return f"---\nsearch:\n  exclude: true\n---\n# {path}\n\n{text}"


def target(link: re.Match[str], path: str) -> str | None:
    """Return the file or folder of the repository that a link in the text of `path` leads to, if there is one."""
    base = ROOT / path if (ROOT / path).is_dir() else (ROOT / path).parent
    there = Path(os.path.normpath(base / link[1]))
    return there.relative_to(ROOT).as_posix() if there.is_relative_to(ROOT) and there.exists() else None


def targets(text: str, path: str) -> list[str]:
    """Return what the links in the text of `path` lead to outside of docs/."""
    found: list[str] = []

    def note(link: re.Match[str]) -> str:
        there = target(link, path)
        if there is not None and not there.startswith("docs/"):
            found.append(there)
        return link[0]

    replace_links(text, note)
    return found


def replace_links(text: str, replacement: Callable[[re.Match[str]], str]) -> str:
    """Return a text whose links outside of blocks of code are replaced."""
    return "".join(part if i % 2 else LINK.sub(replacement, part) for i, part in enumerate(CODE.split(text)))
