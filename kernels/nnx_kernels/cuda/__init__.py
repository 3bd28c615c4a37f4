"""CUDA C++ sources: one idea per file, one template per kernel.

A file is compiled once per dtype with `-DREAL=float` or `-DREAL=double`; its kernels are `extern "C"`, so that their
names are the same in every module. `source` puts the shared headers into the text: a compiler's disk cache that
hashes the source then notices a change in a header, and nothing depends on include paths.
"""

import re
from functools import cache
from importlib import resources

_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


def files() -> tuple[str, ...]:
    """The names of all source files."""
    return tuple(sorted(f.name for f in resources.files(__name__).iterdir() if f.name.endswith(".cu")))


@cache
def source(file: str) -> str:
    """The text of a file, each of our headers in the place of its first `#include`."""
    seen: set[str] = set()

    def included(match: re.Match[str]) -> str:
        if match[1] in seen:
            return ""
        seen.add(match[1])
        return expand(match[1])

    def expand(name: str) -> str:
        return _INCLUDE.sub(included, resources.files(__name__).joinpath(name).read_text(encoding="utf-8"))

    return expand(file)
