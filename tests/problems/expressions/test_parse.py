"""What is understood, how it is written again, and what every mistake says and shows."""

import ast
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optbench.errors import SuiteError
from optbench.problems.expressions import ExpressionError, parse
from optbench.problems.expressions.parse import FUNCTIONS, MAX_LENGTH, MAX_NESTING
from tests.problems.expressions.test_derivatives import SCALARS, VECTORS, scalar_texts

VARIABLES = {"x": (), "y": (), "v": (3,), "w": (2,)}
CONSTANTS = {"a": 2.0, "b": (3,), "A": (2, 3)}


def understood(text):
    return parse(text, VARIABLES, CONSTANTS)


def mistake(text):
    """The message, and the text from the caret on."""
    with pytest.raises(ExpressionError) as caught:
        understood(text)
    assert isinstance(caught.value, SuiteError)
    assert caught.value.exit_code == 2
    message, shown, caret = str(caught.value).split("\n")
    assert caret.strip() == "^"
    return message, shown[caret.index("^") :]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" x ** 2/ 20+y**2.0 ", "x**2/20 + y**2"),
        ("((x))", "x"),
        ("x-(y-x)", "x - (y - x)"),
        ("(x-y)-x", "x - y - x"),
        ("x/(y*x)", "x/(y*x)"),
        ("(x*y)/x", "x*y/x"),
        ("(x+y)*x", "(x + y)*x"),
        ("(-x)**2", "(-x)**2"),
        ("-x**2", "-x**2"),
        ("(x**y)**x", "(x**y)**x"),
        ("x**(y**x)", "x**y**x"),
        ("x**-y", "x**-y"),
        ("x**(x+y)", "x**(x + y)"),
        ("-(x+y)", "-(x + y)"),
        ("-(x*y)", "-(x*y)"),
        ("-x*y", "-x*y"),
        ("--x", "--x"),
        ("x - -y", "x - -y"),
        ("+x", "x"),
        ("exp( x*y )+minimum(x,y)", "exp(x*y) + minimum(x, y)"),
        ("1e3*x + 0x10 + 1_0 + .5", "1000*x + 16 + 10 + 0.5"),
        ("sum((v+b)[1:]) + v[ -1 ] + sum(v[:+2])", None),
        ("sum((v+b)[1:]) + v[ -1 ]", "sum((v + b)[1:]) + v[-1]"),
        ("sum(v[:]) + sum(v[0:100])", "sum(v[:]) + sum(v[0:100])"),
        ("x\n  + y\t*x", "x + y*x"),
        ("np.sin(x)*math.pi + numpy.e", "sin(x)*pi + e"),
        ("np.linalg.norm(v) + torch.amax(v)", "norm(v) + max(v)"),
        ("ln(x) + atan(y)", "log(x) + arctan(y)"),
        ("max(x,y)+min(x,y,1)", "maximum(x, y) + minimum(minimum(x, y), 1)"),
        ("where(x<1,x,y)", "where(x < 1, x, y)"),
        ("where(0<=x!=y, 1, 2)", "where(0 <= x != y, 1, 2)"),
        ("where((x>1)&(y==2), 1, 2)", "where((x > 1) and (y == 2), 1, 2)"),
        ("where(not x>1 or y>=2|x<0, 1, 2)", None),
        ("where(not x>1 or y>=2, 1, 2)", "where((not (x > 1)) or (y >= 2), 1, 2)"),
    ],
)
def test_there_is_one_way_of_writing(text, canonical):
    if canonical is None:
        right = ("an index is a whole number", "& and | are allowed only in")
        assert mistake(text)[0].startswith(right)
    else:
        assert understood(text).text == canonical


NO_INDICES = ("1.0", "True", "-True", "0, 1")


def structure(text):
    return ast.dump(ast.parse(text, mode="eval"))


@given(scalar_texts)
def test_what_is_written_again_means_the_same(text):
    again = parse(text, VARIABLES, CONSTANTS).text
    assert structure(again) == structure(ast.unparse(ast.parse(text, mode="eval")))
    assert parse(again, VARIABLES, CONSTANTS).text == again


def test_names_that_stand_in_it_are_told():
    assert understood("x + 0*a + sum(dot(A, v))*pi").names == {"x", "a", "A", "v", "pi"}


def test_letters_of_other_scripts_are_names():
    assert parse("θ**2 + σ²σ".replace("²", "_"), {"θ": (), "σ_σ": ()}, {}).names == {"θ", "σ_σ"}


@pytest.mark.parametrize(
    ("text", "says", "at"),
    [
        ("x + yy", "unknown name 'yy': the start gives it no value", "yy"),
        ("x + yy", "did you mean 'y'?", "yy"),
        ("x + zzz", "known are x, y, v, w, pi, e, a, b, A", "zzz"),
        ("θ*θ + x + q", "unknown name 'θ'", "θ*θ + x + q"),
        ("x + 3*sinn(x)", "unknown function 'sinn'; did you mean 'sin'?", "sinn(x)"),
        ("x(2)", "'x' is not a function; products are written *", "x(2)"),
        ("2(x)", "only functions can be called; products are written *", "2(x)"),
        ("y*exp", "'exp' is a function; write exp(…)", "exp"),
        ("x + exp(x, y)", "exp takes 1 argument, not 2", "exp(x, y)"),
        ("minimum(x)", "minimum takes 2 arguments, not 1", "minimum(x)"),
        ("dot()", "dot takes 2 arguments, not 0", "dot()"),
        ("x + v", "the result is a vector of 3 coordinates; it must be one number", "x + v"),
        ("sum(v + w)", "a vector of 3 coordinates and a vector of 2 coordinates do not fit", "w)"),
        ("sum(v**w)", "do not fit together", "w)"),
        ("sum(minimum(v, w))", "do not fit together", "w))"),
        ("x + A", "'A' is a matrix, which is allowed only in dot(…)", "A"),
        ("A", "'A' is a matrix", "A"),
        ("dot(A, A)", "these are a 2×3 matrix and a 2×3 matrix", "dot(A, A)"),
        ("dot(A, w)", "these are a 2×3 matrix and a vector of 2 coordinates", "dot(A, w)"),
        ("dot(v, A)", "a matrix and a vector that fit", "dot(v, A)"),
        ("dot(x, v)", "these are a scalar and a vector of 3 coordinates", "dot(x, v)"),
        ("sum(x)", "sum takes a vector; 'x' is a scalar", "x)"),
        ("x[0]", "'x' is a scalar; only vectors take an index", "x[0]"),
        ("v[3]", "a vector of 3 coordinates has indices 0 to 2", "3]"),
        ("v[-4]", "has indices 0 to 2", "-4]"),
        ("v[x]", "an index is a whole number; write x[0], x[-1], x[1:] or x[:-1]", "x]"),
        *((f"v[{bad}]", "an index is a whole number", f"{bad}]") for bad in NO_INDICES),
        ("sum(v[::2])", "an index is a whole number", "::2])"),
        ("sum(v[2:1])", "this slice of a vector of 3 coordinates is empty", "2:1])"),
        ("x + ", "something is missing at the end", ""),
        ("(x", "'(' was never closed", "(x"),
        ("x)", "unmatched ')'", ")"),
        ("x y", "this cannot be read: invalid syntax; products are written *", ""),
        ("2x", "invalid decimal literal; products are written *", "2x"),
        ("x * * y", "this cannot be read: invalid syntax", "* y"),
        ("1if x else y", "this cannot be read: invalid decimal literal", "1if x else y"),
        ("x if y else 1", "a condition is written where(condition, a, b)", "x if y"),
        ("x.real", "an attribute is not allowed", "x.real"),
        ("x.__class__()", "functions stand alone; write __class__(…), not", "x.__class__()"),
        ("mine.sin(x)", "functions stand alone; write sin(…), not mine.sin(…)", "mine.sin(x)"),
        ("v.sum()", "functions stand alone; write sum(…), not v.sum(…)", "v.sum()"),
        ("np.power(x, 2)", "unknown function 'power'; write x**y", "np.power"),
        ("np.e.real*x", "an attribute is not allowed", "np.e.real"),
        ("x.pi*x", "an attribute is not allowed", "x.pi"),
        ("f(x)(x)", "only functions can be called; products are written *", "f(x)(x)"),
        ("arcsin(x)", "unknown function 'arcsin'; known are exp, log, log10,", "arcsin(x)"),
        ("coth(x)", "unknown function 'coth'; write 1/tanh(x)", "coth(x)"),
        ("cot(x)", "unknown function 'cot'; write 1/tan(x)", "cot(x)"),
        ("sgn(x)", "unknown function 'sgn'; did you mean 'sign'?", "sgn(x)"),
        ("erf(x)", "unknown function 'erf'; known are exp,", "erf(x)"),
        ("min(x)", "'x' is a scalar; of several numbers it is min(x, y)", "x)"),
        ("norm(x)", "norm takes a vector; 'x' is a scalar", "x)"),
        ("max()", "max takes 1 argument, not 0", "max()"),
        ("max(v, w)", "do not fit together", "w)"),
        ("ln + x", "'ln' is a function; write ln(…)", "ln + x"),
        ("where(x, 1, 2)", "the condition of where(condition, a, b) is a comparison", "x, 1"),
        ("where(x < 1, 2)", "where takes 3 arguments, not 2", "where(x"),
        ("sum(where(v < 1, w, 0))", "do not fit together", "w, 0"),
        ("sum(where(v < w, 1, 0))", "do not fit together", "w, 1"),
        ("sum(where((v < 1) & (w < 1), 1, 0))", "do not fit together", "w < 1"),
        ("where(x is y, 1, 2)", "numbers are compared with <, <=, >, >=, == and !=", "x is y"),
        ("where(x = 1, 2, 3)", "equal is written ==", "= 1"),
        ("where(A < 1, 2, 3)", "'A' is a matrix", "A < 1"),
        ("x < y", "a comparison is allowed only in the condition of where", "x < y"),
        ("x & y", "& and | are allowed only in the condition of where", "x & y"),
        ("x + (not y)", "a comparison is allowed only in", "not y"),
        ("where(!x, 1, 2)", "not stands before a condition", "!x"),
        ("where(x < 1, 1/0, 2)", "'1/0' is not a finite number", "1/0"),
        ("lambda: x", "a lambda is not allowed", "lambda: x"),
        ("x or y", "a comparison is allowed only in", "x or y"),
        ("x in y", "a comparison is allowed only in", "x in y"),
        ("not x", "a comparison is allowed only in", "not x"),
        ("x, y", "a comma here is not allowed", "x, y"),
        ("dot([1, 2], w)", "a list is not allowed", "[1, 2], w)"),
        ("[x for x in y]", "a loop is not allowed", "[x for"),
        ("exp(*x)", "a star before a name is not allowed", "*x)"),
        ("exp(**x)", "this is not allowed", "exp(**x)"),
        ("exp('x')", "text is not allowed here", "'x')"),
        ("x^2", "'^' means nothing here; powers are written **", "^2"),
        ("x² + y", "powers are written **", "² + y"),
        ("x @ y", "'@' means nothing here; write dot(A, x)", "@ y"),
        ("x = 2", "write only what is to be minimised", "= 2"),
        ("x % 2", "'%' means nothing here; use numbers, names", "% 2"),
        ("x # y", "'#' means nothing here", "# y"),
        ("x − y", "the minus sign is written -", "− y"),
        ("x\x00", "'\\x00' means nothing here", "?"),
        ("x\ud800", "'\\ud800' means nothing here", "?"),
        ("x//y", "quotients are written /", "//y"),
        ("True*x", "True is not a real number", "True*x"),
        ("1j*x", "1j is not a real number", "1j*x"),
        ("x + ...", "Ellipsis is not a real number", "..."),
        ("", "the expression is empty; write one as x**2/20 + y**2", ""),
        (" \n ", "the expression is empty", "   "),
        ("x**1e9", "the exponent 1e+09 is too large; at most 1000", "1e9"),
        ("x**-1001", "the exponent -1001 is too large", "-1001"),
        ("x + 9**9**9", "the exponent 3.8742e+08 is too large", "9**9"),
        ("10**400 + x", "'10**400' is not a finite number", "10**400 + x"),
        ("x*(1/0)", "'1/0' is not a finite number", "1/0)"),
        ("1/0*x", "'1/0' is not a finite number", "1/0*x"),
        ("log(-1)*x", "'log(-1)' is not a finite number", "log(-1)*x"),
        ("(-8)**(1/3)*x", "is not a finite number", "(-8)**"),
        ("1e999*x", "'inf' is not a finite number", "1e999*x"),
        ("9" * 400 + "*x", "the number is too large", None),
        ("(" * 250 + "x", "too many nested parentheses", None),
        ("-" * 3000 + "x", "nested too deep", None),
        ("exp(" * 60 + "x" + ")" * 60, f"at most {MAX_NESTING} levels are allowed", None),
        ("x**" * 60 + "x", "this is nested too deep", None),
        ("x" * (MAX_LENGTH + 1), "has 4001 characters; at most 4000 are allowed", None),
        ("q" * 100, f"unknown name '{'q' * 40}…'", None),
        ("0*" + "q" * 100, "unknown name", None),
    ],
)
def test_mistakes_are_shown_where_they_are(text, says, at):
    message, shown = mistake(text)
    assert says in message
    if at == "":
        assert shown.strip() in ("", "y")
    elif at is not None:
        assert shown.startswith(at)


def test_a_mistake_in_a_long_expression_is_shown_with_what_is_around_it():
    text = "x + " * 30 + "oops" + " + x" * 30
    _, shown = mistake(text)
    assert shown.startswith("oops + x")
    with pytest.raises(ExpressionError) as caught:
        understood(text)
    line = str(caught.value).split("\n")[1]
    assert (line[:5], line[-1]) == ("    …", "…")
    assert len(line) < 80


def test_a_mistake_can_be_told_with_its_place_and_sent_between_processes():
    with pytest.raises(ExpressionError) as caught:
        understood("x + yy")
    error = caught.value.within("suite 'mine'")
    assert str(error).startswith("suite 'mine': unknown name 'yy'")
    assert str(error).endswith("\n    x + yy\n        ^")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_sums_may_have_many_terms():
    expression = understood(" + ".join(["x*y"] * 600))
    assert expression.text.count("x*y") == 600


def test_a_warning_of_python_reaches_nobody(recwarn):
    mistake("1if x else y")
    assert not recwarn.list


@given(st.text())
def test_no_text_whatever_ends_in_anything_but_an_expression_or_its_mistake(text):
    attempt(text)


@pytest.mark.parametrize(
    "text", ["\\", "x\\\n+y", "\x0cx", "f'{x}'", "(yield)", "x:=1", "await x", "0777", "1__0"]
)
def test_neither_does_any_of_pythons_own_oddities(text):
    attempt(text)


WORDS = ("**", "pi", "2.5", "1e9", "x[", "sum(", "dot(", "lambda", "if", "not", "for", "in")
WORDS += ("<=", "!=", "and", "max(", "where(", "np.")
PIECES = st.sampled_from([*FUNCTIONS, *"xyvwAbe10_j²+-*/()[],.:<>&| \n", *WORDS])


@given(st.lists(PIECES, max_size=30).map("".join))
def test_no_heap_of_symbols_does_either(text):
    attempt(text)


def attempt(text):
    lines = 3
    try:
        understood(text)
    except ExpressionError as error:
        lines = len(str(error).split("\n"))
    assert lines == 3


@pytest.mark.parametrize("text", [*SCALARS, *VECTORS])
def test_equal_parts_are_one_node(text):
    constants = {"A": (4, 4), "B": (4, 3), "b": (4,), "c": (3,), "a": 1.5}
    variables = {"x": (4,), "s": ()} if text in VECTORS else {"x": (), "y": ()}
    expression = parse(text, variables, constants)
    nodes = expression.graph.nodes
    assert len({repr(node) for node in nodes}) == len(nodes)
    assert all(max(node.arguments, default=-1) < place for place, node in enumerate(nodes))
