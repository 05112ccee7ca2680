"""From text to Python's syntax tree, and from its nodes back to places in the text."""

import ast
import warnings

from optbench.expressions.mistakes import ExpressionError

MAX_LENGTH = 4000
"""Characters of an expression."""

SYMBOLS = "+-*/()[].,:"

PERHAPS_A_PRODUCT = ("invalid syntax", "invalid decimal literal")
"""What Python says of ``x y`` and of ``2x``."""

HINTS = {
    "^": "powers are written **",
    "=": "write only what is to be minimised",
    "@": "write dot(A, x)",
    "−": "the minus sign is written -",
    "×": "products are written *",
    "⋅": "products are written *",
    "÷": "quotients are written /",
    "√": "write sqrt(…)",
    **dict.fromkeys("²³⁴⁵⁶⁷⁸⁹", "powers are written **"),
    **dict.fromkeys("\"'", "text has no place here"),
}


def syntax_tree(text: str) -> ast.expr:
    """Return the syntax tree of an expression, which may spread over lines.

    Raises
    ------
    ExpressionError
        If it is empty, too long, or no Python expression.
    """
    if len(text) > MAX_LENGTH:
        message = f"the expression has {len(text)} characters; at most {MAX_LENGTH} are taken"
        raise ExpressionError(message, text, MAX_LENGTH)
    flat = _flat(text)
    if not flat.strip():
        raise ExpressionError("the expression is empty; write one as x**2/20 + y**2", text, 0)
    _check_characters(flat, text)
    indent = len(flat) - len(flat.lstrip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # doubtful spellings, such as 1if
            return ast.parse(flat.lstrip(), mode="eval").body
    except SyntaxError as error:
        reason = (error.msg or "invalid syntax").split(". ")[0]
        # At the end of the text, Python names the line after it.
        column = indent + error.offset - 1 if error.offset else len(flat.rstrip())
        raise ExpressionError(_unreadable(reason, flat, column), text, column) from None
    except (RecursionError, MemoryError):  # what Python's own parser says of deep nesting
        raise ExpressionError("the expression is nested too deep", text, 0) from None


def column_of(node: ast.expr, text: str) -> int:
    """Return the character of a text, from 0, at which a node of its syntax tree begins."""
    flat = _flat(text)
    source = flat.lstrip()
    return len(flat) - len(source) + len(source.encode()[: node.col_offset].decode())


def _unreadable(reason: str, flat: str, column: int) -> str:
    if column >= len(flat.rstrip()):
        return "something is missing at the end"
    hint = "; products are written *" if reason in PERHAPS_A_PRODUCT else ""
    return f"this cannot be read: {reason}{hint}"


def _flat(text: str) -> str:
    """Return the text in one line, each character in its place."""
    return "".join(" " if character.isspace() else character for character in text)


def _check_characters(flat: str, text: str) -> None:
    for column, character in enumerate(flat):
        if not (character in SYMBOLS or character == " " or f"_{character}".isidentifier()):
            hint = HINTS.get(character, "there are numbers, names, + - * / **, brackets and commas")
            raise ExpressionError(f"{character!r} means nothing here; {hint}", text, column)
    if "//" in flat:
        raise ExpressionError("quotients are written /", text, flat.index("//"))
