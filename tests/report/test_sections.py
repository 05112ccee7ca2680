"""Tables that are read: Markdown and LaTeX keep every cell, whatever stands in it."""

import re

from optbench.report.sections import Column, Section, to_latex, to_markdown

SECTION = Section(
    "a_title & 100 %",
    [Column("optimizer", "name"), Column("where", "list"), Column("final loss", spare=1)],
    [["my_rule | x", "lr=1e-3", "0.5–0.6"], ["~adam^2", r"\{b}", "≤ 1 µs"]],
    facts=["5 seeds"],
    warnings=["1 of 2 < 3"],
    bold={1},
)


def test_markdown_keeps_bars_and_marks_what_is_bold():
    assert to_markdown([SECTION]).splitlines() == [
        "### a_title & 100 %",
        "",
        "| optimizer | where | final loss |",
        "| --- | --- | --- |",
        r"| my_rule \| x | lr=1e-3 | 0.5–0.6 |",
        r"| **~adam^2** | **\{b}** | **≤ 1 µs** |",
        "",
        "- 5 seeds",
        "- 1 of 2 < 3",
    ]


def test_latex_escapes_what_it_takes_otherwise():
    lines = to_latex([SECTION]).splitlines()
    assert lines[1] == r"\caption{a\_title \& 100 \%. 5 seeds. 1 of 2 \textless{} 3.}"
    assert r"\begin{tabular}{llr}" in lines
    assert r"my\_rule | x & lr=1e-3 & 0.5--0.6 \\" in lines
    bold = (r"\textasciitilde{}adam\textasciicircum{}2", r"\textbackslash{}\{b\}")
    last = r"$\leq$ 1 $\mu$s"
    assert " & ".join(rf"\textbf{{{cell}}}" for cell in (*bold, last)) + r" \\" in lines
    bare = re.sub(r"\\[&%$#_{}\\]", "", to_latex([SECTION]))
    assert "%" not in bare
    assert bare.count("{") == bare.count("}")
    assert to_latex([SECTION]).isascii()
