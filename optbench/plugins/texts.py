"""The text of functions and classes, also of those that were typed in a notebook."""

import ast
import inspect
import linecache
from collections.abc import Iterator
from contextlib import suppress
from textwrap import dedent
from types import CodeType, FunctionType


def function_text(code: CodeType) -> str | None:
    """Return the text of a function with its decorators; None where Python has kept none.

    A lambda is known by its line only: of several in one line all texts are returned.
    """
    texts = [
        segment for node, segment in _nodes(code) if _is_of(node, code.co_name, code.co_firstlineno)
    ]
    return "\n".join(texts) or None


def class_text(kind: type) -> str | None:
    """Return the text of a class with its decorators; None where Python has kept none.

    It is found by its methods: of a class that was typed in, nothing else says where that was.
    """
    for function in own_functions(kind):
        for node, segment in _nodes(function.__code__):
            if not isinstance(node, ast.ClassDef) or node.name != kind.__name__:
                continue
            if node.lineno <= function.__code__.co_firstlineno <= (node.end_lineno or 0):
                return segment
    with suppress(OSError, TypeError):
        return dedent(inspect.getsource(kind))
    return None


def own_functions(kind: type) -> Iterator[FunctionType]:
    """Yield the functions that are defined in a class: methods, static ones, and properties."""
    for value in vars(kind).values():
        plain = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if isinstance(plain, FunctionType):
            yield plain


def _nodes(code: CodeType) -> Iterator[tuple[ast.AST, str]]:
    """Yield functions and classes of the file or cell that code stands in, with their texts."""
    linecache.checkcache(code.co_filename)
    text = "".join(linecache.getlines(code.co_filename))
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):  # it has changed since
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Lambda):
            yield node, ast.get_source_segment(text, node) or ""
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            first = min((node.lineno, *(each.lineno for each in node.decorator_list)))
            lines = text.splitlines(keepends=True)[first - 1 : node.end_lineno]
            yield node, dedent("".join(lines)).rstrip()


def _is_of(node: ast.AST, name: str, first: int) -> bool:
    """Say whether a node is the function of a name that begins in a line."""
    if isinstance(node, ast.Lambda):
        return name == "<lambda>" and node.lineno == first
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name != name:
        return False
    return first in (node.lineno, *(each.lineno for each in node.decorator_list))
