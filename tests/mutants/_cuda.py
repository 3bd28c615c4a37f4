"""Mutants of CUDA sources, by their signs: no tool that knows C++ knows the emulator, and these need no more."""

import re
from collections.abc import Iterator

# Signs between spaces, as clang-format sets them: `REAL *x`, `a<b>` and `-x` are none of these.
_SIGNS = {
    "+": ("-",), "-": ("+",), "*": ("/",), "/": ("*",), "%": ("/",),
    "<": ("<=",), "<=": ("<",), ">": (">=",), ">=": (">",), "==": ("!=",), "!=": ("==",),
    "&&": ("||",), "||": ("&&",), "&": ("|",), "|": ("&",), "^": ("&",), ">>": ("<<",), "<<": (">>",),
    "+=": ("-=", "="), "-=": ("+=",), "*=": ("/=", "="), "/=": ("*=",), "^=": ("=",),
}  # fmt: skip
_SIGN = re.compile(r"(?<= )(?:[-+*/^]=?|[<>]{1,2}=?|[=!]=|&&?|\|\|?|%)(?= )")
_NUMBER = re.compile(r"(?<![\w.$])\d+(?![\w.])")
_BARRIER = re.compile(r"__sync\w+\([^()]*\);")
_UNARY = re.compile(r"(?<=[(,=?:] )-(?=[\w(])|(?<=[(])[-!](?=[\w(])|(?<=return )-(?=[\w(])")
_STATEMENT = re.compile(r"(?<=[;{}\n)]) *(?:[\w.\[\]>*-]+ (?:[-+*/|^]|<<|>>)?= [^;{}]*|[+-]{2}\w+|\w+\([^;{}]*\));")
"""An assignment or a call that stands alone."""
_TEXT = re.compile(
    r'//[^\n]*|/\*.*?\*/|"[^"\n]*"|^#[^\n]*|\$\{?\w+\}?|__launch_bounds__\(\w+, \d\)|\bfor \(', re.DOTALL | re.MULTILINE
)
"""What stays as it is; for how many blocks a multiprocessor should have room makes for speed alone."""


def mutants(text: str) -> Iterator[str]:
    """Yield the text with each mutation; some do not compile, and are none."""
    code = _TEXT.sub(lambda match: " " * len(match[0]) if match[0] != "for (" else match[0], text)
    numbers = [(m.span(), int(m[0]) + step) for m in _NUMBER.finditer(code) for step in (1, -1)]
    changes = [
        *((m.span(), new) for m in _SIGN.finditer(code) for new in _SIGNS.get(m[0], ())),
        *((span, str(number)) for span, number in numbers if number >= 0),
        *((m.span(), ";") for m in _BARRIER.finditer(code)),
        *((m.span(), "") for m in _UNARY.finditer(code)),
        *((m.span(), ";") for m in _STATEMENT.finditer(code) if "__sync" not in m[0]),
    ]
    seen = {text}
    for (start, end), new in changes:
        mutated = text[:start] + new + text[end:]
        if mutated not in seen:
            seen.add(mutated)
            yield mutated
