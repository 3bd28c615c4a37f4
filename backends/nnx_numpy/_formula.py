"""Formulas in NumPy: a program of calls with `out=`, block by block: a block of all arrays stays in the cache."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from ._erf import erf

Array = np.ndarray[Any, Any]
Formula = Any  # of nnx, of which a plugin imports nothing; its attributes are in docs/writing-a-backend.md

BLOCK = 131072  # elements: smaller blocks cost more calls than the cache saves, and those of all arrays fit any L3
_UFUNCS = {
    "+": "add",
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "neg": "negative",
    "abs": "absolute",
}
_COMPARISONS = ("<", "<=", ">", ">=")


def elementwise(
    formula: Formula, inputs: Sequence[Array], outs: Sequence[Array], scalars: Sequence[float] = ()
) -> None:
    """Write the outputs. An output may be the very array of an input."""
    same = tuple([x is y for y in outs for x in inputs])
    made, others = _elementwise(formula, same)
    arrays = [inputs[i] for i in made.inputs] + [outs[i] for i in others]
    if made.simple:
        made.run(*arrays, *scalars)
    else:
        run_blocks(made, arrays, scalars, outs[0])


@cache
def _elementwise(formula: Formula, same: tuple[bool, ...]) -> "tuple[Program, list[int]]":
    """Return the program, and the indices of the outputs that are no inputs.

    same: for each output and each input, whether both are one array.
    """
    n = len(formula.inputs)
    pairs = {o: formula.inputs[i] for k, o in enumerate(formula.outputs) for i in range(n) if same[k * n + i]}
    return program(formula, frozenset(pairs.items())), [k for k, o in enumerate(formula.outputs) if o not in pairs]


@cache
def value_of(formula: Formula) -> Formula:
    """Return the formula of a loss without its gradient."""
    return formula.only("loss")


@cache
def loss_program(formula: Formula, same: bool) -> "Program | None":
    """Make the program of a loss that returns the sum of the losses, and multiplies the gradient, if any, by `scale`.

    same: whether the gradient goes into the array of the outputs. None, if the loss depends on no array.
    """
    summed = _summed(formula, "loss")
    return None if summed is None else _Writer(formula, {"dz": "z"} if same else {}, summed).program()


class _Summed(NamedTuple):
    """An output of which the sum over all elements is wanted: factor * sum(product of the operands)."""

    output: str
    factor: float
    operands: tuple[str, ...]


def _summed(formula: Formula, output: str) -> _Summed | None:
    """Take a number out of the sum, and a product that is summed as a dot product: no array of them is needed."""
    made = {name: (op, args) for name, op, args in formula.instructions}
    arrays = set(formula.inputs)
    for name, (_, args) in made.items():
        if not arrays.isdisjoint(args):
            arrays.add(name)
    result, factor = formula.results[formula.outputs.index(output)], 1.0
    if result not in arrays:
        return None
    op, args = made.get(result, ("", ()))
    if op == "*" and not isinstance(args[0], str):
        factor, result = args
        op, args = made.get(result, ("", ()))
    return _Summed(output, factor, args if op == "*" and arrays.issuperset(args) else (result,))


def run_blocks(program: "Program", arrays: Sequence[Array], scalars: Sequence[float], like: Array) -> Any:
    """Run a program on all elements of its arrays; return the sum of its totals, if it has one.

    like: one of the arrays, of the elements' dtype.
    """
    size, run = like.size, program.run
    if size <= BLOCK or not all(a.flags.c_contiguous for a in arrays):
        return run(*arrays, *scalars, *[np.empty(like.shape, kind or like.dtype) for kind in program.scratch])
    scratch = [np.empty(BLOCK, kind or like.dtype) for kind in program.scratch]
    flat, whole = [a.reshape(-1) for a in arrays], size - size % BLOCK
    # The rows of a table of blocks: to walk through them takes less time than to cut a block out of each array.
    tables = [a[:whole].reshape(-1, BLOCK) for a in flat]
    totals = [run(*blocks, *scalars, *scratch) for blocks in zip(*tables, strict=True)]
    if whole < size:
        totals.append(run(*[a[whole:] for a in flat], *scalars, *[s[: size - whole] for s in scratch]))
    return None if totals[0] is None else np.add.reduce(totals)


class Program(NamedTuple):
    """run(*inputs, *outs that are no inputs, *scalars, *scratch); scratch: "bool", or None for the elements' dtype."""

    run: Callable[..., None]
    inputs: list[int]
    """Which of the formula's it takes."""
    scratch: list[str | None]
    simple: bool
    """Whether it is a single call, which is made on whole arrays."""
    text: str


@cache
def program(formula: Formula, same: frozenset[tuple[str, str]]) -> Program:
    """Make the program of a formula; same: (output, input) where they are the same array."""
    return _Writer(formula, dict(same)).program()


def _needed(work: list[Any], results: set[Any]) -> list[Any]:
    """Return the instructions that the results need, in order."""
    kept = []
    for instruction in reversed(work):
        if instruction[0] in results:
            results |= set(instruction[2])
            kept.append(instruction)
    return kept[::-1]


class _Writer:
    """Writes a program: each value goes to the output that it is, or to a scratch array that is no longer needed."""

    def __init__(self, formula: Formula, same: dict[str, str], summed: _Summed | None = None) -> None:
        self.formula, self.same, self.summed = formula, same, summed
        self.lines: list[str] = []
        self.scratch: dict[str, str | None] = {}
        self.place = {name: f"{name}_" for name in formula.inputs}
        """Where the arrays are by name; what is not here is a number."""
        self.holds = {f"{name}_": name for name in same.values()}
        """Which value is in a memory that may be written to."""
        # A result that is an input, a setting, a number, or already another output is copied.
        results = dict(zip(formula.outputs, formula.results, strict=True))
        self.work = list(formula.instructions)
        if summed:
            del results[summed.output]
            self.work = _needed(self.work, {*results.values(), *summed.operands})
        self.outputs, self.out = list(results), dict[str, str]()
        for output, result in results.items():
            if not isinstance(result, str) or result in (*formula.inputs, *formula.scalars, *self.out):
                if same.get(output) != result:
                    self.work.append((f"copy_{output}", "copy", (result,)))
                    self.out[f"copy_{output}"] = output
            else:
                self.out[result] = output
        self.last = {a: i for i, (_, _, args) in enumerate(self.work) for a in args if isinstance(a, str)}
        if summed:
            self.last |= dict.fromkeys(summed.operands, len(self.work))
        self.late: list[str] = []

    def program(self) -> Program:
        made = {name: (op, args) for name, op, args in self.work}
        for i, (name, op, args) in enumerate(self.work):
            doing = op
            if op in _COMPARISONS and self._is_mask(name, made):
                continue
            if op == "where" and args[0] in made and self._is_mask(args[0], made):
                comparison, args = made[args[0]]  # noqa: PLW2901
                doing = f"{comparison} as numbers"
            if not any(a in self.place for a in args) and name not in self.out:
                self.lines.append(f"{name} = {self._number(op, args)}")
                continue
            self._instruction(i, name, doing, args)
        inputs = [n for n in self.formula.inputs if self.formula.uses(n) or n in self.same.values()]
        parameters = [f"{n}_" for n in inputs]
        parameters += [f"out_{n}" for n in self.outputs if n not in self.same]
        parameters += [f"{n}_" for n in self.formula.scalars]
        if self.summed:
            parameters.append("scale")
            self._sum(self.summed)
        parameters += self.scratch
        body = "\n".join(f"    {line}" for line in [*self.lines, *self.late] or ["pass"])
        text = f"def run_{self.formula.name}({', '.join(parameters)}):\n{body}\n"
        if any(op == "sigmoid" for _, op, _ in self.work):  # exp(-x) may overflow to infinity: the result is then 0
            text = f"@np.errstate(over='ignore')\n{text}"
        space: dict[str, Any] = {"np": np, "erf": erf}
        exec(compile(text, f"<formula {self.formula.name}>", "exec"), space)
        positions = [self.formula.inputs.index(n) for n in inputs]
        simple = len(self.lines) + len(self.late) <= 1 and not self.scratch
        return Program(space[f"run_{self.formula.name}"], positions, list(self.scratch.values()), simple, text)

    def _sum(self, summed: _Summed) -> None:
        """Write the sum, before what it is made of is overwritten; and the multiplication of the outputs by `scale`."""
        operands = [self._value(a) for a in summed.operands]
        form = "np.vdot({}, {})" if len(operands) == 2 else "np.add.reduce({}, axis=None)"
        factor = "" if summed.factor == 1 else f"{summed.factor!r} * "
        self.lines.append(f"total = {factor}{form.format(*operands)}")
        for output in self.outputs:
            self.late.append(f"np.multiply({self._memory(output)}, scale, out={self._memory(output)})")
        self.late.append("return total")

    def _is_mask(self, name: str, made: dict[str, Any]) -> bool:
        """Return whether a comparison is only used as 1 or 0.

        It is then written as these numbers, without a multiplication of booleans.
        """
        users = [(op, args) for op, args in made.values() if name in args]
        of_arrays = any(a in self.formula.inputs or a in made for a in made[name][1])
        return of_arrays and users == [("where", (name, 1.0, 0.0))]

    def _value(self, a: "str | float") -> str:
        if not isinstance(a, str):
            return f"float({str(a)!r})" if a != a or a in (np.inf, -np.inf) else repr(a)
        return self.place.get(a, a if a[0] == "_" else f"{a}_")

    def _number(self, op: str, args: Sequence[Any]) -> str:
        """Write an operation on numbers alone."""
        a = [self._value(x) for x in args]
        forms = {
            "sigmoid": "1 / (1 + np.exp(-{}))",
            "softplus": "np.logaddexp(0, {})",
            "where": "{1} if {0} else {2}",
            "erf": "erf(np.full(1, {}), np.empty(1))[0]",
        }
        return forms.get(op, f"np.{_UFUNCS.get(op, op)}({', '.join(['{}'] * len(a))})").format(*a)

    def _instruction(self, i: int, name: str, op: str, args: Sequence[Any]) -> None:
        kind = "bool" if op in _COMPARISONS else None
        target, output = self._toward(name), self.out.get(name)
        if target is None or kind or not self._is_free(target, i):
            free = [s for s, k in self.scratch.items() if k == kind and self._is_free(s, i)]
            dying = [self.place[a] for a in reversed(args) if self.place.get(a) in free]
            target = (dying or free or [f"s{len(self.scratch)}"])[0]
            self.scratch.setdefault(target, kind)
        self._write(target, op, [self._value(a) for a in args])
        self.place[name], self.holds[target] = target, name
        if output is not None:
            self.last[name] = len(self.work)
            if target != self._memory(output):
                self.late.append(f"np.copyto({self._memory(output)}, {target})")

    def _memory(self, output: str) -> str:
        return f"{self.same[output]}_" if output in self.same else f"out_{output}"

    def _is_free(self, memory: str, i: int) -> bool:
        """Return whether what the memory holds is not needed after instruction i."""
        held = self.holds.get(memory)
        return held is None or self.last.get(held, -1) <= i

    def _toward(self, name: str) -> str | None:
        """Return the memory of the output that a value is, or into which alone it goes, directly or through others."""
        if name in self.out:
            return self._memory(self.out[name])
        users = [user for user, _, args in self.work if name in args]
        return self._toward(users[0]) if len(users) == 1 else None

    def _write(self, target: str, op: str, a: list[str]) -> None:
        say = self.lines.append
        if op == "where" and a[0][0] != "s":  # decided by numbers
            say(f"if {a[0]}:")
            say(f"    np.copyto({target}, {a[1]})" if target != a[1] else "    pass")
            if target != a[2]:
                say("else:")
                say(f"    np.copyto({target}, {a[2]})")
        elif op == "where":
            if target == a[1]:
                say(f"np.copyto({target}, {a[2]}, where=np.logical_not({a[0]}))")
                return
            if target != a[2]:
                say(f"np.copyto({target}, {a[2]})")
            say(f"np.copyto({target}, {a[1]}, where={a[0]})")
        elif op == "copy":
            say(f"np.copyto({target}, {a[0]})")
        elif op == "sigmoid":
            say(f"np.exp(np.negative({a[0]}, out={target}), out={target})")
            say(f"np.reciprocal(np.add({target}, 1, out={target}), out={target})")
        elif op == "softplus":
            say(f"np.logaddexp(0, {a[0]}, out={target})")
        elif op == "erf":
            say(f"erf({a[0]}, {target})")
        elif op.endswith(" as numbers"):
            say(f"np.{_UFUNCS[op.split()[0]]}({a[0]}, {a[1]}, out={target}, casting='unsafe')")
        else:
            say(f"np.{_UFUNCS.get(op, op)}({', '.join(a)}, out={target})")
