"""HTML, put together by functions: text is escaped unless it is `Markup`, so that data cannot become tags."""

import base64
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from importlib import resources
from string import Template
from typing import Any

import numpy as np

from .. import __version__
from ..ops import HostArray

_VOID = {"img"}
_MOST_PIXELS = 128
"""Limit of a picture's height and width; of a larger one only every second, third, ... pixel is kept."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def join(parts: Iterable[Any]) -> Markup:
    """Join the parts; those that are no `Markup` are escaped."""
    return Markup("".join(part if isinstance(part, Markup) else escape(str(part)) for part in parts))


def element(name: str, *children: Any, **attributes: Any) -> Markup:
    """Return the element <name attributes>children</name>.

    In an attribute's name a trailing _ is removed and any other _ becomes -. An attribute that is None is left out.
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{told}>" if name in _VOID else f"<{name}{told}>{join(children)}</{name}>")


def paragraph(*children: Any, class_: str | None = None) -> Markup:
    """Return a paragraph."""
    return element("p", *children, class_=class_)


def missing(what: str, why: object) -> Markup:
    """Return a paragraph that says what is left out of the page, and why."""
    return paragraph(element("strong", f"{what} left out:"), f" {why}", class_="missing")


def facts(entries: Iterable[tuple[str, Any]], class_: str = "facts") -> Markup:
    """Return names and their values, as a list of definitions."""
    pairs = (element("div", element("dt", name), element("dd", value)) for name, value in entries)
    return element("dl", *pairs, class_=class_)


def tiles(entries: Iterable[tuple[str, str, str]]) -> Markup:
    """Return headline numbers: name, number, and what to compare it with."""
    return element(
        "dl",
        *(
            element("div", element("dt", name), element("dd", number), element("dd", note, class_="note"))
            for name, number, note in entries
        ),
        class_="tiles",
    )


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[int] = ()
) -> Markup:
    """Return a table with its caption above, in a box that scrolls where the table is too wide.

    `numbers` are the columns that are set flush right.
    """

    def cell(name: str, index: int, value: Any, **attributes: Any) -> Markup:
        return element(name, value, class_="number" if index in numbers else None, **attributes)

    head = element("tr", *(cell("th", i, column, scope="col") for i, column in enumerate(columns)))
    body = (
        element(
            "tr", *(cell("td", i, value) if i else cell("th", i, value, scope="row") for i, value in enumerate(row))
        )
        for row in rows
    )
    content = element("table", element("thead", head), element("tbody", *body))
    return element("figure", element("figcaption", caption), scrolling(content, caption))


def scrolling(content: Markup, label: str) -> Markup:
    """Return a box that scrolls sideways, by keyboard too."""
    return element("div", content, class_="scroll", tabindex="0", role="region", aria_label=label)


def figure(content: Markup, caption: Any) -> Markup:
    """Return a figure with the sentence that explains it."""
    return element("figure", content, element("figcaption", caption))


def picture(image: HostArray, alt: str) -> Markup:
    """Return an image of numbers as a PNG within the page, from black (least) to white (greatest).

    Args:
        image: (height, width), or coloured (height, width, 3).
        alt: its text.
    """
    step = -(-max(image.shape[:2]) // _MOST_PIXELS)
    image = image[::step, ::step]
    low, high = float(image.min()), float(image.max())
    pixels = ((image.astype(np.float64) - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    data = base64.b64encode(_png(pixels)).decode()
    return element("img", src=f"data:image/png;base64,{data}", alt=alt, width=image.shape[1], height=image.shape[0])


def _png(image: HostArray) -> bytes:
    """Encode 8-bit grey or red, green and blue as PNG, second edition (ISO/IEC 15948:2003), no row filtered."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = image.shape[:2]
    flat = image.reshape(height, -1)
    rows = np.zeros((height, flat.shape[1] + 1), np.uint8)
    rows[:, 1:] = flat
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if image.ndim == 2 else 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows.tobytes(), 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading."""

    name: str
    """Its anchor: lower-case letters and hyphens."""
    title: str
    content: Markup

    def render(self) -> Markup:
        """Return the section as HTML."""
        heading = element("h2", self.title, id=f"{self.name}-heading")
        return element("section", heading, self.content, id=self.name, aria_labelledby=f"{self.name}-heading")


def foot() -> Markup:
    """Return the line that says which version wrote the page, and when."""
    now = datetime.now().astimezone().isoformat(sep=" ", timespec="minutes")
    return paragraph(f"Written by nnx {__version__}, {now}.")


def page(title: str, lead: Any, sections: Sequence[Section], foot: Any) -> bytes:
    """Return the whole page: a file that refers to nothing outside itself."""
    files = resources.files(__package__)
    links = (element("li", element("a", section.title, href=f"#{section.name}")) for section in sections)
    text = Template(files.joinpath("page.html").read_text(encoding="utf-8")).substitute(
        title=escape(title),
        style=files.joinpath("page.css").read_text(encoding="utf-8"),
        lead=join([lead]),
        contents=element("ul", *links),
        sections=join(section.render() for section in sections),
        foot=join([foot]),
    )
    return text.encode()
