"""Tables on a screen: what is left out where it is narrow, what folds, and what stays whole."""

import io

import pytest
from rich.cells import cell_len
from rich.console import Console

from optbench.report.sections import Column, Section, to_latex, to_markdown
from optbench.report.terminal import to_rich

NAMES = ["sgd", "an-optimizer-of-my-own-with-30", "モーメンタム"]


def shown(section, width):
    screen = Console(width=width, file=io.StringIO(), color_system=None)
    screen.print(to_rich([section]))
    lines = screen.file.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    return lines


def table(*columns, rows, **below):
    return Section("title", columns, rows, **below)


def pairs(a="an-optimizer-of-my-own-with-30", b="another-optimizer-of-my-own-30"):
    return table(
        Column("a", "name", gathers=True),
        Column("b", "name"),
        Column("a / b"),
        Column("95 %", spare=1),
        Column("p", spare=2),
        Column("a wins", spare=3),
        Column("a is", "prose"),
        rows=[
            [a, b, "0.859", "0.776 to 0.948", "0.023", "7 of 8", "better"],
            [a, "sgd", "0.658", "0.600 to 0.722", "0.023", "8 of 8", "better"],
            [b, "sgd", "0.766", "0.709 to 0.822", "0.023", "8 of 8", "undecided"],
        ],
        bold={0},
    )


def test_numbers_stand_on_the_right_and_text_on_the_left():
    section = table(Column("run", "name"), Column("loss"), rows=[["a", "1.5"], ["long", "10.25"]])
    assert shown(section, 80) == [
        "title",
        "",
        " run    loss",
        " ───────────",
        " a       1.5",
        " long  10.25",
        "",
    ]


def test_what_can_be_spared_is_left_out_in_its_order_and_named():
    section = table(
        Column("run", "name"),
        Column("middle", "word", spare=1),
        Column("95 %", spare=3, called="95 % of the mean"),
        Column("last", spare=2),
        rows=[["n" * 20, "m" * 20, "5" * 20, "1" * 10]],
    )
    headings = {width: shown(section, width)[2].split() for width in (77, 76, 54, 43)}
    assert headings == {
        77: ["run", "middle", "95", "%", "last"],
        76: ["run", "middle", "last"],
        54: ["run", "middle"],
        43: ["run", "middle"],
    }
    line = "  a wider screen also shows: "
    assert shown(section, 76)[-1] == f"{line}95 % of the mean"
    assert shown(section, 54)[-1] == f"{line}95 % of the mean, last"
    assert not any("wider" in row for row in shown(section, 77))
    for whole in (to_markdown([section]), to_latex([section])):
        assert all(word in whole for word in ("middle", "95 ", "last", "1" * 10))


def test_what_explains_a_column_is_left_out_with_it():
    section = table(
        Column("optimizer", "name"),
        Column("RMST"),
        Column("95 %", spare=1, called="95 % of RMST"),
        Column("ERT", spare=2),
        Column("a step", spare=3),
        rows=[["an-optimizer", "10", "9 to 11", "12", "5 ms"]],
        facts=["RMST: a mean; ERT: a ratio", "95 % of RMST: bootstrap", "a step: timed alone"],
    )

    def below(width):
        *_, last = "\n".join(shown(section, width)).split("\n\n")
        return " ".join(last.split())

    assert below(60) == " ".join(section.facts)
    spared = "a wider screen also shows: "
    assert below(38) == " ".join([*section.facts[:2], f"{spared}a step"])
    assert below(26) == f"RMST: a mean {spared}95 % of RMST, ERT, a step"
    assert "- a step: timed alone" in to_markdown([section])


def test_headings_fold_before_anything_is_left_out():
    section = table(Column("x", "name"), Column("validation loss", spare=1), rows=[["sgd", "0.25"]])
    assert shown(section, 21)[2] == " x    validation loss"
    assert [line.split() for line in shown(section, 20)[2:4]] == [["validation"], ["x", "loss"]]


@pytest.mark.parametrize("width", [40, 60, 80, 120, 160])
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_whole_on_one_line(name, width):
    columns = [Column("optimizer", "name"), Column("final loss")]
    columns += [Column(f"number {k}", spare=k) for k in range(1, 8)]
    lines = shown(table(*columns, rows=[[name, *["0.1235"] * 8]]), width)
    (row,) = [line for line in lines if name in line]
    assert "0.1235" in row


def test_a_name_longer_than_the_screen_folds_and_others_stay_whole():
    long = "x" * 30 + "y" * 60
    section = table(
        Column("run", "name"), Column("status", "word"), Column("more", spare=1),
        rows=[[long, "done", "0"], [NAMES[1], "interrupted", "0"]],
    )  # fmt: skip
    lines = shown(section, 60)
    assert any(NAMES[1] in line and "interrupted" in line for line in lines)
    assert (
        "".join(word for line in lines for word in line.split() if set(word) <= {"x", "y"}) == long
    )
    assert any("more" in line for line in lines[:4]), "leaving it out would not have helped"


def test_lists_break_after_commas_but_in_no_bracket_and_prose_between_words():
    settings = "lr=0.001, betas=[0.9, 0.99], weight_decay=0.01"
    words = "an update with the mean of the last gradients and then some"
    section = table(Column("at", "list"), Column("what it is", "prose"), rows=[[settings, words]])
    lines = shown(section, 37)[4:]
    assert [line[1:20].strip() for line in lines[:3]] == [
        "lr=0.001,",
        "betas=[0.9, 0.99],",
        "weight_decay=0.01",
    ]
    assert " ".join(line[20:].strip() for line in lines).strip() == words


def test_where_two_names_do_not_fit_the_first_stands_above_its_rows():
    assert shown(pairs("adam", "momentum"), 80)[2].split()[:3] == ["a", "b", "a"]
    a, b = "an-optimizer-of-my-own-with-30", "another-optimizer-of-my-own-30"
    lines = shown(pairs(), 80)
    assert [line.rstrip() for line in lines[2:9]] == [
        " a",
        "   b                               a / b            95 %      p  a is",
        " " + "─" * len(lines[4].strip()),
        f" {a}",
        f"   {b}  0.859  0.776 to 0.948  0.023  better",
        "   sgd                             0.658  0.600 to 0.722  0.023  better",
        "",
    ]
    assert lines[9] == f" {b}"
    assert lines[-1] == "  a wider screen also shows: a wins"
    assert f" {a}  {b}  0.859  0.776 to 0.948  0.023  7 of 8  better" in shown(pairs(), 120)


def test_what_stands_below_folds_at_words_and_stays_indented():
    fact = "a fact that is too long for the screen that shows it"
    lines = shown(table(Column("x", "name"), rows=[["y"]], facts=[fact], warnings=["mind"]), 30)
    assert lines[-3:] == ["  a fact that is too long for", "  the screen that shows it", "  mind"]


def test_nothing_in_a_cell_does_anything_to_the_terminal():
    lines = shown(table(Column("x", "name"), rows=[["[bold]\x1b[31m"]]), 40)
    assert lines[4] == r" [bold]\x1b[31m"
