"""Finds places in the source that tell errors apart by their texts, which are for people and may change.

    if str(error) == "…":            if error.reason.startswith("…"):            if b"…" in answer.body:

What is looked at is text that comes right from an exception (`str(error)`, an f-string with nothing else) or stands in
an attribute whose name says that it is a text for people.
"""

import ast
import builtins
from collections.abc import Iterator
from itertools import chain
from typing import Final

TEXTS: Final = frozenset({"body", "message", "problem", "reason", "strerror"})
"""Attributes that hold what is said to people."""

SEARCHES: Final = frozenset(
    {"count", "endswith", "find", "index", "partition", "rfind", "rindex", "rpartition", "split", "startswith"}
)
PATTERNS: Final = frozenset({"fullmatch", "match", "search"})

Function = ast.FunctionDef | ast.AsyncFunctionDef

BUILTIN: Final = frozenset(
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
)


def exceptions(trees: list[ast.Module]) -> frozenset[str]:
    """The names of all classes of exceptions that the source defines, and those of Python itself."""
    known = set(BUILTIN)
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    while found := {c.name for c in classes if known & {_last_name(base) for base in c.bases}} - known:
        known |= found
    return frozenset(known)


def comparisons(tree: ast.Module, known: frozenset[str]) -> Iterator[int]:
    """The lines in which the text of an error is compared with something or searched."""
    found = {line for function in _functions(tree) for line in _within(function, _errors(function, known))}
    yield from sorted(found | set(_within(tree, set())))


def _functions(tree: ast.Module) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def _errors(function: Function, known: frozenset[str]) -> set[str]:
    """Names that are bound to an exception somewhere in the function."""
    found: set[str] = set()
    for node in ast.walk(function):
        match node:
            case ast.ExceptHandler(name=str(name)):
                found.add(name)
            case ast.arg(arg=name, annotation=ast.expr() as annotation) if known & _names(annotation):
                found.add(name)
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation) if known & _names(annotation):
                found.add(name)
            case ast.Call(func=ast.Name(id="isinstance"), args=[ast.Name(id=name), kind]) if _is_error(kind, known):
                found.add(name)
    return found


def _is_error(kind: ast.expr, known: frozenset[str]) -> bool:
    return any(name in known or name.endswith("Error") for name in _names(kind))


def _within(scope: ast.AST, errors: set[str]) -> Iterator[int]:
    for node in ast.walk(scope):
        match node:
            case ast.Compare(left=left, ops=ops, comparators=others):
                sides = [left, *others]
                plain = all(isinstance(op, ast.Is | ast.IsNot) for op in ops)
                looked_at = any(_is_text(side, errors) for side in sides)
            case ast.Call(func=ast.Attribute(value=value, attr=attribute), args=args):
                plain = False
                looked_at = (attribute in SEARCHES and _is_text(value, errors)) or (
                    attribute in PATTERNS and any(_is_text(arg, errors) for arg in args)
                )
            case ast.Match(subject=subject):
                plain, looked_at = False, _is_text(subject, errors)
            case _:
                continue
        if looked_at and not plain:
            yield node.lineno


def _is_text(node: ast.expr, errors: set[str]) -> bool:
    """Whether this is the text of an error, perhaps in other letters or as bytes."""
    match node:
        case ast.Attribute(attr=attribute):
            return attribute in TEXTS
        case ast.Subscript(value=ast.Attribute(attr="args"), slice=ast.Constant(value=0)):
            return True
        case ast.Subscript(value=value):
            return _is_text(value, errors)
        case (
            ast.Call(func=ast.Name(id="str" | "repr"), args=[ast.Name(id=name)])
            | ast.JoinedStr(values=[ast.FormattedValue(value=ast.Name(id=name))])
        ):
            return name in errors
        case ast.Call(func=ast.Attribute(value=value, attr="lower" | "upper" | "strip" | "encode" | "decode")):
            return _is_text(value, errors)
    return False


def _names(node: ast.expr) -> set[str]:
    return {_last_name(part) for part in chain([node], ast.walk(node)) if isinstance(part, ast.Name | ast.Attribute)}


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
