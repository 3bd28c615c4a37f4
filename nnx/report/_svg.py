"""Figures within the page: matplotlib's SVG, made small, in colours that follow the page from light to dark."""

import io
import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from .._support import plots as plotting
from ._html import Markup, element, scrolling

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_MATPLOTLIB = "matplotlib is not installed; pip install 'nnx-array[plot]'."
_INKS = {plotting.INK: "--ink", plotting.FAINT: "--faint", plotting.PAPER: "--paper"}
_INKS |= {colour: f"--colour-{index}" for index, colour in enumerate(plotting.COLOURS)}
_NUMBERS = {"d", "x", "y", "width", "height", "transform", "points"}
_NARROW = 340
"""In points: a narrower figure shrinks to a phone's screen, a wider one scrolls."""


def inline(figure: "Figure", name: str, label: str) -> Markup:
    """Return a figure as a part of the page.

    Args:
        figure: matplotlib's figure.
        name: A name that no other figure of the page has, of letters, digits and hyphens.
        label: Text for readers who cannot see the figure.
    """
    file = io.StringIO()
    with plotting.style():
        figure.savefig(file, format="svg")
    root = ElementTree.fromstring(file.getvalue())
    width, height = (float(root.attrib[side].removesuffix("pt")) for side in ("width", "height"))
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', ElementTree.tostring(root, encoding="unicode")))
    for part in root.iter():
        part.tag = _local(part.tag)
        part.attrib = {
            _local(key): _attribute(_local(key), value, name)
            for key, value in part.attrib.items()
            if key != "id" or value in used
        }
        part.text, part.tail = (text if text and text.strip() else None for text in (part.text, part.tail))
    drawing = element(
        "svg",
        Markup("".join(ElementTree.tostring(child, encoding="unicode") for child in root)),
        role="img",
        aria_label=label,
        viewBox=f"0 0 {width:g} {height:g}",
        style=f"--width: {width / 0.75:.0f}px",
    )
    return drawing if width <= _NARROW else scrolling(drawing, label)


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _attribute(key: str, value: str, name: str) -> str:
    """Return an attribute's value for the page.

    References get the figure's name as a prefix, because a page has several figures; colours become variables, and
    numbers short.
    """
    if key == "id":
        return f"{name}-{value}"
    if key == "href":
        return f"#{name}-{value[1:]}" if value.startswith("#") else value
    if key in _NUMBERS:
        short = re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), value)
        return " ".join(short.split())
    if key == "style":
        value = re.sub(r"#[0-9a-f]{6}\b", lambda ink: f"var({_INKS[ink[0]]})" if ink[0] in _INKS else ink[0], value)
        return re.sub(r" ?font-family: [^;]*;?", "", value)
    return re.sub(r"url\(#", f"url(#{name}-", value)
