"""CUDA C++ sources: one idea per file, one template per kernel.

A file is compiled once per dtype with `-DREAL=float` or `-DREAL=double`; its kernels are `extern "C"`, so that their
names are the same in every module. `source` puts the shared headers into the text: a compiler's disk cache that
hashes the source then notices a change in a header, and nothing depends on include paths. A file with $name in it is
compiled for each formula, whose code is put into its places.
"""

import re
from functools import cache
from importlib import resources
from string import Template
from typing import Any

_FUNCTIONS = ("exp", "log", "log1p", "tanh", "erf", "sigmoid", "softplus")
_INCLUDE = re.compile(r'^#include "(\w+\.cuh)"$', re.MULTILINE)


def files() -> tuple[str, ...]:
    """Return the names of all source files."""
    return tuple(sorted(f.name for f in resources.files(__name__).iterdir() if f.name.endswith(".cu")))


@cache
def source(file: str, formula: Any = None) -> str:
    """Return the text of a file, with each of our headers in the place of its first `#include`, and with a formula."""
    seen: set[str] = set()

    def included(match: re.Match[str]) -> str:
        if match[1] in seen:
            return ""
        seen.add(match[1])
        return expand(match[1])

    def expand(name: str) -> str:
        return _INCLUDE.sub(included, resources.files(__name__).joinpath(name).read_text(encoding="utf-8"))

    text = expand(file)
    return text if formula is None else Template(text).substitute(_parts(formula))


def _parts(formula: Any) -> dict[str, str]:
    """Return what a template says of a formula. Its variable x is `x_`, the array of its elements `of_x`."""
    body, results = formula.c()
    inputs = [x for x in formula.inputs if formula.uses(x)]
    scalars = {s: f"hyper[{k}]" for k, s in enumerate(formula.scalars) if formula.uses(s)}
    decay = []
    if "weight_decay" in scalars:
        scalars["of_weights"] = scalars.pop("weight_decay")
        decay = ["const REAL weight_decay_ = i < decay ? of_weights_ : REAL(0);"]
    updated = [x for x in formula.inputs if x in formula.outputs]
    read = [x for x in formula.inputs if x not in formula.outputs]
    # A result that is another array's element is kept before something else is written there.
    moved = {r for r, x in zip(formula.results, formula.outputs, strict=True) if r in updated and r != x}
    kept = [f"const REAL {x}_before = {x}_;" for x in updated if x in moved]
    written = [f"{r}_before" if r in moved else text for r, text in zip(formula.results, results, strict=True)]
    pairs = zip(formula.outputs, written, strict=True)
    return {
        "name": formula.name,
        "ahead": "4" if any(op in _FUNCTIONS for _, op, _ in formula.instructions) else "8",
        "scalars": "\n  ".join(f"const REAL {s}_ = {value};" for s, value in scalars.items()),
        "body": "\n    ".join([*decay, *body, *kept]),
        "results": ", ".join(results),
        "inputs": ", ".join(f"const REAL *__restrict__ of_{x}" for x in inputs),
        "pointers": ", ".join(f"of_{x}" for x in inputs),
        "variables": ", ".join(f"{x}_" for x in inputs),
        "loads": ", ".join(f"of_{x}[i]" for x in inputs),
        "members": ", ".join(f"at.{x}_" for x in inputs),
        "values": ", ".join(f"REAL {x}_" for x in inputs),
        "buffers": ", ".join(f"{'const ' * (x in read)}REAL *__restrict__ of_{x}" for x in formula.inputs),
        "updated": ", ".join(f"of_{x}" for x in [*read, *updated]),
        "elements": ", ".join([f"REAL {x}_" for x in read] + [f"REAL &{x}_" for x in updated]),
        "stores": "\n    ".join(f"{x}_ = {result};" for x, result in pairs),
    }
