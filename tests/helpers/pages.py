"""Pages of the documentation: their code."""

import re


def python_of(page):
    """Return the blocks of Python in a page's text, from top to bottom."""
    return re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
