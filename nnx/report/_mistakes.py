"""What a network gets wrong: which classes it confuses, and its worst mistakes."""

import numpy as np

from ..lab import Inspection, Mistake, confused_pairs
from ..ops import HostArray
from ._html import Markup, element, figure, join, paragraph, picture, scrolling, table

_MOST_CLASSES = 40
"""With more classes, only the pairs that are confused most are shown."""
_LONG = 4
"""A class's name of so many letters or more is turned upright over its column."""
_MOST_PAIRS = 20
_MOST_ROWS = 25


def confusion(found: Inspection) -> Markup:
    """Return the confusion matrix as a table, each cell coloured by its share of the row.

    With many classes, return a table of the pairs that are confused most.
    """
    counts, classes = found.confusion, found.classes
    rows, right = int(counts.sum()), int(np.trace(counts))
    pairs = confused_pairs(counts)
    told = f"{rows - right:,} of {rows:,} test rows are taken for another class"
    if pairs:
        often = ", ".join(f"{classes[i]} taken for {classes[j]} ({n}\N{MULTIPLICATION SIGN})" for i, j, n in pairs[:3])
        told += f"; most often {often}"
    if len(classes) > _MOST_CLASSES:
        shown = ((classes[i], classes[j], n) for i, j, n in pairs[:_MOST_PAIRS])
        caption = f"The pairs that are confused most, of {len(pairs)} that occur among {len(classes)} classes."
        return join([paragraph(told, "."), table(caption, ("true", "predicted", "rows"), shown, numbers=(2,))])
    head = element("tr", element("td"), *(element("th", name, scope="col", title=name) for name in classes))
    body = []
    for i, name in enumerate(classes):
        total = max(int(counts[i].sum()), 1)
        cells = (_cell(int(count), int(count) / total, i == j) for j, count in enumerate(counts[i]))
        body.append(element("tr", element("th", name, scope="row", title=name), *cells))
    kind = "confusion" if max(map(len, classes)) < _LONG else "confusion long"
    matrix = element("table", element("thead", head), element("tbody", *body), class_=kind)
    return figure(scrolling(matrix, "Confusion matrix"), f"{told}. Each row is a true class, each column a prediction.")


def _cell(count: int, share: float, diagonal: bool) -> Markup:
    # The root lets a single mistake among hundreds be seen.
    style = f"--share: {share**0.5:.2f}" if count else None
    return element("td", count, class_="none" if not count else "right" if diagonal else None, style=style)


def mistakes(found: Inspection) -> Markup:
    """Return the rows of the highest loss: as images, or as a table if the inputs are no images."""
    if not found.mistakes:
        return paragraph(f"There are none: all {int(found.confusion.sum()):,} test rows are right.")
    if not len(found.images):
        caption = f"{_which(_MOST_ROWS, len(found.mistakes))}."
        shown = (
            (m.row, found.classes[m.true], found.classes[m.predicted], f"{m.probability:.3f}", f"{m.loss:.2f}")
            for m in found.mistakes[:_MOST_ROWS]
        )
        columns = ("test row", "true", "predicted", "probability of the predicted", "loss")
        return table(caption, columns, shown, numbers=(0, 3, 4))
    items = (
        element("li", _picture(found, image, mistake))
        for image, mistake in zip(found.images, found.mistakes, strict=False)
    )
    worst = found.mistakes[0]
    caption = (
        f"{_which(len(found.images), len(found.mistakes))}, the worst first: "
        f"{found.classes[worst.true]} taken for {found.classes[worst.predicted]} with a probability of "
        f"{worst.probability:.1%}."
    )
    return figure(element("ol", *items, class_="mistakes"), caption)


def _which(shown: int, found: int) -> str:
    """Return which of the mistakes are shown, as the beginning of a caption."""
    if shown < found:
        return f"The {shown} of {found} mistakes with the highest loss"
    return f"All {found} mistakes" if found > 1 else "The only mistake"


def _picture(found: Inspection, image: HostArray, mistake: Mistake) -> Markup:
    true, predicted = found.classes[mistake.true], found.classes[mistake.predicted]
    alt = f"Test row {mistake.row}: a {true}, taken for {predicted}"
    said = element("span", f"{predicted} ", element("small", f"{mistake.probability:.1%}"), class_="predicted")
    return join([picture(image, alt), said, element("span", f"is {true}", class_="true")])
