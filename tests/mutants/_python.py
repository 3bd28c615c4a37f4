"""Mutants of Python sources: cosmic-ray's operators, and three of our own for the mistakes that it does not make."""

import ast
from collections.abc import Iterator
from typing import Any

import parso
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators import (
    binary_operator_replacement,
    boolean_replacer,
    break_continue,
    comparison_operator_replacement,
    number_replacer,
    unary_operator_replacement,
    zero_iteration_for_loop,
)
from cosmic_ray.operators.operator import Example, Operator

# One replacement for each sign: a product that becomes a shift or a modulus is found by its error and tells nothing.
_BINARY = ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_FloorDiv", "Pow_Mul")
_BITS = ("RShift_LShift", "LShift_RShift", "BitAnd_BitOr", "BitOr_BitAnd", "BitXor_BitAnd")
_COMPARISONS = ("Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is")
_UNARY = ("Delete_USub", "Delete_Not", "Delete_Invert")


_COMMUTATIVE = (
    *("add", "multiply", "maximum", "minimum", "max", "min"),
    *("bitwise_and", "bitwise_or", "bitwise_xor"),
)


class DropStatement(Operator):
    """Leaves out a statement that writes to what is there already: an assignment in place or anew, a bare call."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        if node.parent is not None and node.parent.type == "simple_stmt" and _matters_alone(node):
            yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        return parso.python.tree.Name("pass", node.start_pos, node.get_first_leaf().prefix)

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("x[0] = 1", "pass"), Example("f(x)", "pass"))


def _matters_alone(statement: Any) -> bool:
    if statement.type == "atom_expr":
        return bool(statement.children[-1].type == "trailer")
    if statement.type != "expr_stmt" or statement.children[1].type == "annassign":
        return False
    target, sign = statement.children[0], statement.children[1]
    function = parso.python.tree.search_ancestor(statement, "funcdef")
    if function is None:
        return False
    if target.type == "atom_expr" or getattr(sign, "type", "") != "operator" or sign.value != "=":
        return True
    return any(
        leaf.type == "name" and leaf.value in target.get_code().replace(",", " ").split()
        for leaf in _leaves(function)
        if leaf.start_pos < statement.start_pos
    )


def _leaves(node: Any) -> Iterator[Any]:
    leaf, end = node.get_first_leaf(), node.end_pos
    while leaf is not None and leaf.start_pos < end:
        yield leaf
        leaf = leaf.get_next_leaf()


def _is_call(node: Any) -> bool:
    """Whether these are the arguments of a call."""
    return node.type == "arglist" and node.parent.type == "trailer" and node.parent.children[0].value == "("


class DropKeyword(Operator):
    """Leaves out a keyword argument: an `out`, an axis, a bias."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        for argument in self._keywords(node):
            yield argument.start_pos, argument.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        argument = self._keywords(node)[index]
        place = node.children.index(argument)
        del node.children[place - 1 : place + 1]
        return node

    @staticmethod
    def _keywords(node: Any) -> list[Any]:
        if not _is_call(node):
            return []
        return [c for c in node.children[1:] if c.type == "argument" and getattr(c.children[1], "value", "") == "="]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("f(x, out=y)", "f(x)"),)


class SwapArguments(Operator):
    """Swaps two neighbouring arguments that are given by position."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        for place in self._places(node):
            yield node.children[place].start_pos, node.children[place + 2].end_pos

    def mutate(self, node: Any, index: int) -> Any:
        place = self._places(node)[index]
        first, second = node.children[place], node.children[place + 2]
        before, after = first.get_first_leaf(), second.get_first_leaf()
        before.prefix, after.prefix = after.prefix, before.prefix
        node.children[place], node.children[place + 2] = second, first
        return node

    @staticmethod
    def _places(node: Any) -> list[int]:
        if not _is_call(node):
            return []
        pairs = [(k, node.children[k], node.children[k + 2]) for k in range(0, len(node.children) - 2, 2)]
        return [
            k
            for k, a, b in pairs
            if "argument" not in (a.type, b.type) and a.get_code().strip() != b.get_code().strip()
        ]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("f(x, y)", "f(y, x)"),)


def _operators() -> list[Operator]:
    named = [
        *((binary_operator_replacement, f"ReplaceBinaryOperator_{n}") for n in (*_BINARY, *_BITS)),
        *((comparison_operator_replacement, f"ReplaceComparisonOperator_{n}") for n in _COMPARISONS),
        *((unary_operator_replacement, f"ReplaceUnaryOperator_{n}") for n in _UNARY),
        *((boolean_replacer, n) for n in ("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "AddNot")),
        *((boolean_replacer, n) for n in ("ReplaceAndWithOr", "ReplaceOrWithAnd")),
        (break_continue, "ReplaceBreakWithContinue"),
        (number_replacer, "NumberReplacer"),
        (zero_iteration_for_loop, "ZeroIterationForLoop"),
    ]
    return [getattr(module, name)() for module, name in named] + [DropStatement(), DropKeyword(), SwapArguments()]


def mutants(text: str) -> Iterator[str]:
    """Yield the text with each mutation that is one: that changes what runs and not only what is said."""
    seen = {_what_runs(text)}
    for operator in _operators():
        occurrence = 0
        while (mutated := mutate_code(text, operator, occurrence)) is not None:
            occurrence += 1
            try:
                runs = _what_runs(mutated)
            except SyntaxError:
                continue
            if runs not in seen:
                seen.add(runs)
                yield mutated


def _what_runs(text: str) -> str:
    return ast.dump(_Silent().visit(ast.parse(text)))


class _Silent(ast.NodeTransformer):
    """Takes out what says something and does nothing: docstrings, annotations, the texts of errors, `__repr__`."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        """Whether an argument may be given by position, by name or both."""
        node.args, node.posonlyargs, node.kwonlyargs = [*node.posonlyargs, *node.args, *node.kwonlyargs], [], []
        node.defaults, node.kw_defaults = [*node.defaults, *filter(None, node.kw_defaults)], []
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Whether `zip` is strict, and the order of what is added, multiplied or compared by a function."""
        node.keywords = [k for k in node.keywords if k.arg != "strict"]
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in _COMMUTATIVE:
            node.args[:2] = sorted(node.args[:2], key=ast.dump)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant("")
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        if node.name in ("__repr__", "__str__"):
            node.body = []
        return self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST:
        if "TYPE_CHECKING" in ast.dump(node.test):
            node.test = ast.Constant("")
            node.body = []
        return self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        if isinstance(node.exc, ast.Call):
            node.exc = node.exc.func
        return node
