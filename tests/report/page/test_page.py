"""The HTML report: what it says, that it is alone, and that text of runs stays text."""

import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from optbench.optimizers.rules import RULES
from optbench.records import Status
from optbench.report.page import contents, page, telling
from optbench.report.page.contents import subjects_of
from optbench.report.page.methods import DATA, OPTIMIZERS, TOLD, entries
from optbench.report.page.series import losses
from optbench.report.page.telling import winners
from optbench.report.page.thinning import extremes
from optbench.report.races import Question
from optbench.report.targets import reach
from tests.report.runs import Lane, function_problem, tables

EMPTY = ("meta", "link", "br", "img", "input", "hr")

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m‮abc"


class Page(HTMLParser):
    """Tags with their attributes, text by tag, and whether all tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append((tuple(self.open), data))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def text(self, tag):
        return " ".join(text for within, text in self.texts if tag in within)


def fall(start, seed, steps=20):
    return start * np.exp(-0.3 * np.arange(steps + 1)) * (1 + 0.01 * seed)


def two(seeds=8, problems=("a",), **more):
    lanes = [
        Lane(label, fall(start, seed), problem=problem, seed=seed)
        for problem in problems
        for label, start in (("adam", 1.0), ("sgd", 2.0))
        for seed in range(seeds)
    ]
    return made([*lanes, *more.get("lanes", ())], problems)


@pytest.fixture(scope="module")
def usual():
    """Return a page of one problem on which one optimizer is surely better."""
    return page([two()])


@pytest.fixture
def without_figures(monkeypatch):
    monkeypatch.setattr(contents, "MOST_DRAWN", 0)


def made(lanes, problems=("a",)):
    run = tables(lanes, [function_problem(name) for name in problems])
    run.meta.update(status="done", optimizers=[], environment={"optbench": "0.1.0"})
    return run


def test_the_page_says_first_what_won(usual):
    seen = Page(usual)
    assert seen.open == []
    body = seen.text("body")
    assert "adam is better than sgd: 0.5 × its loss" in body
    headings = [each for within, each in seen.texts if within[-1:] == ("h2",)]
    assert headings == ["Protocol", "a", "What went wrong", "Lanes", "Methods", "How to repeat"]
    assert body.index("adam is better") < body.index("Protocol")


def test_many_problems_are_counted_and_put_together():
    names = [f"p{place}" for place in range(7)]
    first, second = winners(subjects_of([two(seeds=12, problems=names)], []))
    assert first == (
        "On 7 problems, the lowest values are those of adam on 7; "
        "7 of these firsts are surely better than the next."
    )
    assert second == "Over all problems together adam is better than sgd, sure at 5 %."


def test_where_nothing_is_random_firsts_are_exact():
    run = two(seeds=1, problems=[f"p{place}" for place in range(4)])
    for problem in run.meta["problems"]:
        problem["random"] = False
    said = winners(subjects_of([run], []))[0]
    assert said.endswith("those of adam on 4; nothing is random, so differences are exact.")


def test_problems_are_put_together(without_figures):
    seen = Page(page([two(seeds=2, problems=("a", "b"))]))
    assert "All problems together" in seen.text("h2")
    assert "2 problems together, pair by pair" in seen.text("section")


def test_one_seed_is_no_verdict_and_that_is_said(without_figures):
    text = Page(page([two(seeds=1)])).text("body")
    assert "adam against sgd: 0.5 × its loss, over 1 seed: too few seeds (needs 6)" in text
    assert "a: 1 seed is too few for a verdict, which takes 6" in text


def test_the_page_asks_for_nothing(usual):
    text = usual
    seen = Page(text)
    for tag, attributes in seen.tags:
        for name in ("src", "href", "xlink:href", "action", "data"):
            address = attributes.get(name) or ""
            assert address == "" or address.startswith(("data:", "#")), (tag, address)
    (policy,) = (each for each in seen.all("meta") if "http-equiv" in each)
    assert policy["content"].startswith("default-src 'none'")
    assert "@import" not in text
    assert [each for each in re.findall(r"url\(([^)]*)\)", text) if each[0] not in "#d"] == []


def test_every_name_is_there_once_and_every_reference_has_one():
    seen = Page(page([two(problems=("a", "b"))]))
    names = [attributes["id"] for _, attributes in seen.tags if "id" in attributes]
    assert len(names) == len(set(names))
    used = [
        attributes[name][1:]
        for _, attributes in seen.tags
        for name in ("href", "xlink:href")
        if (attributes.get(name) or "").startswith("#")
    ]
    assert used
    assert set(used) <= set(names)


def test_the_same_input_gives_the_same_bytes(usual):
    assert page([two()]) == usual


def test_text_of_runs_stays_text(usual):
    lanes = [Lane(HOSTILE, fall(0.5, seed), problem="a", seed=seed) for seed in range(8)]
    lanes += [Lane("x" * 500, fall(0.7, seed), problem="a", seed=seed) for seed in range(8)]
    run = two(lanes=lanes)
    run.meta["failures"] = [{"message": HOSTILE, "lanes": [1], "traceback": ""}]
    text = page([run], title=HOSTILE)
    seen = Page(text)
    assert seen.open == []
    assert "alert(1)" not in "".join(
        code for code in re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    )
    assert len(seen.all("script")) == len(Page(usual).all("script"))
    assert "<script>alert(1)</script>" in seen.text("h1")
    assert "\x1b" not in seen.text("section")
    assert "x" * 500 in seen.text("table")


def read(csv):
    return pd.read_csv(StringIO(unquote(csv)))


def test_a_table_can_be_taken_along_unrounded(usual):
    seen = Page(usual)
    links = {each["download"]: each["href"] for each in seen.all("a") if "download" in each}
    head, _, csv = links["a-pairs.csv"].partition(",")
    assert head == "data:text/csv;charset=utf-8"
    (row,) = read(csv).to_dict(orient="records")
    assert (row["a"], row["b"], row["seeds"]) == ("adam", "sgd", 8)
    assert row["estimate"] == pytest.approx(0.5, rel=1e-9)
    assert len(read(links["lanes-runs.csv"].partition(",")[2])) == 16


def test_other_targets_are_what_the_command_would_say(usual):
    run, text = two(), usual
    found = re.findall(r'<script type="application/json">(.*?)</script>', text)
    (data,) = (json.loads(each) for each in found if "targets" in each)
    assert data["targets"] == sorted(data["targets"], reverse=True)
    for place in (0, 20, 40, len(data["targets"]) - 1):
        asked = Question(targets=[data["goals"][place].partition("≤ ")[2]])
        rows = reach([run], asked).labels.set_index("label")
        for each in data["labels"]:
            there, rmst, _ = each["cells"][place]
            assert there == f"{rows.at[each['label'], 'reached']} of 8"
            assert float(rmst) == pytest.approx(rows.at[each["label"], "rmst"], rel=2e-3)


def test_curves_keep_the_extremes_of_each_stretch():
    loss = 1.0 + np.random.default_rng(0).random(5001)
    loss[3777], loss[1234] = 90.0, 0.001
    run = made([Lane("adam", loss, problem="a")])
    subject = subjects_of([run], [])[0]
    data = losses(run, "a", subject.look("a"), 500)
    (curve,) = data["windows"][0]["curves"]
    assert len(data["x"]) == len(curve["median"]) == 500
    assert max(curve["median"]) == 90.0
    assert min(curve["median"]) == 0.001
    x = np.array(data["x"])[[curve["median"].index(90.0), curve["median"].index(0.001)]]
    assert abs(x - [3777, 1234]).max() <= 20


@pytest.mark.parametrize("most", [4, 50, 500])
def test_extremes_are_kept_in_order(most):
    values = np.random.default_rng(1).normal(size=1003)
    kept = extremes(values, most)
    assert len(kept) <= most
    assert (np.diff(kept) > 0).all()
    assert values[kept].min() == values.min()
    assert values[kept].max() == values.max()


def test_what_went_wrong_is_said(without_figures):
    lost = Lane("lion", [1.0, 5.0, np.inf], problem="a", status=Status.DIVERGED)
    text = Page(page([two(lanes=[lost])])).text("section")
    assert "a, lion: of 1 lane 1 diverged" in text


def test_a_lane_that_failed_has_no_iterations(without_figures):
    run = two(lanes=[Lane("lion", [1.0, 0.5], problem="a", status=Status.FAILED)])
    run.lanes["iterations"] = run.lanes["iterations"].astype("Int64")
    run.lanes.loc[run.lanes["label"] == "lion", "iterations"] = pd.NA
    text = Page(page([run])).text("section")
    assert "a, lion: of 1 lane 1 failed" in text
    assert "lion 0 failed -" in " ".join(text.split())


def test_a_grid_without_choosing_seeds_has_the_remedy(without_figures):
    lanes = [
        Lane("sgd", fall(start, seed), problem="a", seed=seed, hyperparameters={"lr": rate})
        for rate, start in ((0.1, 1.0), (0.2, 2.0), (0.3, 1.5))
        for seed in range(12)
    ]
    lanes += [Lane("adam", fall(3.0, seed), problem="a", seed=seed) for seed in range(12)]
    run = made(lanes)
    assert "give --choose-on with the seeds that choose" in Page(page([run])).text("body")
    assert "sgd is better than adam" in Page(page([run], choose_on=range(5))).text("body")


def test_beyond_some_problems_there_are_tables_alone(monkeypatch):
    monkeypatch.setattr(contents, "MOST_DRAWN", 1)
    text = page([two(seeds=2, problems=("a", "b"))])
    parts = text.split('<section class="chapter"')
    assert [("<table>" in part, "<svg" in part) for part in parts[1:3]] == [
        (True, True),
        (True, False),
    ]
    assert contents.UNDRAWN in parts[2]


def test_every_rule_has_a_reference_and_every_reference_is_used():
    assert set(OPTIMIZERS) == {rule.name for rule in RULES}
    used = {key for keys in (*OPTIMIZERS.values(), *DATA.values()) for key in keys} | set(TOLD)
    assert used == set(entries())


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_references_are_those_that_rules_name(rule):
    text = "\n".join(entries()[key] for key in OPTIMIZERS[rule.name])
    for number in re.findall(r"arXiv:(\d{4}\.\d{5}|\d{4}\.\d{4})", rule.source):
        assert number in text
    year = re.search(r"(19|20)\d\d", rule.source)
    assert year is None or f"year = {{{year[0]}}}" in text


def test_vendored_code_has_its_licence(usual):
    licence = files("optbench.report.page") / "vendor" / "uplot-license.txt"
    assert "The MIT License" in licence.read_text(encoding="utf-8")
    assert licence.read_text(encoding="utf-8") in usual


def test_why_a_figure_is_missing_is_said():
    lanes = [
        Lane(f"rule{number}", fall(1.0 + number, seed, 4), problem="a", seed=seed)
        for number in range(12)
        for seed in range(2)
    ]
    text = Page(page([made(lanes)])).text("section")
    assert "66 pairs are too many for a figure; draw fewer optimizers" in text


def test_spaces_of_all_problems_are_shown():
    study = SimpleNamespace(
        path=Path("s"), meta={"spaces": {name: {"sgd": {"lr": f"log(1, {name})"}} for name in "23"}}
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telling, "protocol", lambda study, problem: "4 trials")
        section = telling._spaces(study).section
    assert section.rows == [["2", "sgd", "lr", "log(1, 2)"], ["3", "sgd", "lr", "log(1, 3)"]]
