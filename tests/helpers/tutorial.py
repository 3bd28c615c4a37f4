"""The tutorial's pages: their code, what it prints and what it draws.

`python tests/helpers/tutorial.py` runs all of them and renews what both languages show (`make tutorial`).
"""

import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs/tutorial").glob("*.md"))
IMAGES = ROOT / "docs/tutorial/images"
CHINESE = ROOT / "docs/zh-CN/tutorial"

_BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```\n)?", re.MULTILINE | re.DOTALL)


def blocks(text):
    """Return a page's blocks of Python, each with the text that is shown right below it ("" for none)."""
    return [(found["code"], found["shown"] or "") for found in _BLOCK.finditer(text)]


def images(text):
    """Return the names of the pictures that a page shows."""
    return [Path(path).name for path in re.findall(r"!\[.*?\]\((.*?\.png)\)", text, re.DOTALL)]


@contextlib.contextmanager
def matplotlibs_own_font():
    """Have the pages' style write in the font that comes with matplotlib, so that all machines draw the same."""
    from matplotlib import style

    settings = style.library["seaborn-v0_8-whitegrid"]
    before, settings["font.sans-serif"] = settings["font.sans-serif"], ["DejaVu Sans"]
    try:
        yield
    finally:
        settings["font.sans-serif"] = before


def run(page, folder):
    """Run a page's blocks in a folder, one after another, as a reader does; return what each printed."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    plt.switch_backend("agg")
    names, printed = {"__name__": "tutorial"}, []
    with mpl.rc_context(), matplotlibs_own_font(), contextlib.chdir(folder):
        for number, (code, _) in enumerate(blocks(page.read_text(encoding="utf-8")), 1):
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(code, f"{page.name}, block {number}", "exec"), names)
            printed.append("".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines()))
    plt.close("all")
    return printed


def renewed(text, printed):
    """Return a page's text with these outputs below its blocks."""
    outputs = iter(printed)

    def block(found):
        shown = next(outputs)
        return f"```python\n{found['code']}```\n" + (f"\n```text\n{shown}```\n" if shown else "")

    return _BLOCK.sub(block, text)


def main():
    """Renew the pages that are named, or all."""
    from PIL import Image

    for page in [p for p in PAGES if not sys.argv[1:] or p.stem in sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as folder:
            printed = run(page, folder)
            for drawn in Path(folder).glob("*.png"):
                Image.open(drawn).convert("RGB").quantize(dither=Image.Dither.NONE).save(
                    IMAGES / drawn.name, optimize=True
                )
        for each in (page, CHINESE / page.name):
            if each.exists():
                each.write_text(renewed(each.read_text(encoding="utf-8"), printed), encoding="utf-8")
        print(page.relative_to(ROOT))


if __name__ == "__main__":
    os.environ.setdefault("NNX_BACKEND", "numpy")
    main()
