"""What studies found, from tables made by hand."""

import io
import json
from math import exp, inf

import numpy as np
import pytest
from rich.console import Console

from optbench.inference.pairs import interval
from optbench.records import Status
from optbench.report.compare import Question, compare
from optbench.report.protocol import of_winners
from optbench.report.sections import to_csv, to_json, to_latex, to_markdown
from optbench.report.studies import RESULT_COLUMNS, results, sections
from optbench.report.terminal import to_rich
from tests.report.runs import Lane, function_problem, network_loss, network_problem, tables
from tests.report.studies import Trial, study

LEVELS = np.array([1.01, 0.99, 1.02, 0.98, 1.03, 0.97, 1.04, 0.96, 1.05, 0.95])
"""Factors of ten evaluation seeds; their median is 1."""

FACTORS = {"sgd": 0.09, "adam": 0.03, "adam (default)": 0.04, "sgd (default)": 1.2}


def lanes(label, losses, problem="mnist-mlp", errors=None, **changes):
    """Return a lane for each evaluation seed; None is divergence."""
    made = []
    for seed, loss in enumerate(losses):
        lost = loss is None
        error = 0.05 if errors is None else errors[seed]
        splits = [] if lost else [(200, "validation", loss, error), (200, "test", loss, error)]
        made.append(
            Lane(
                label,
                network_loss(1.0),
                problem,
                optimizer=label.split(" ")[0],
                seed=seed,
                evaluations=splits,
                status=Status.DIVERGED if lost else Status.DONE,
                **changes,
            )
        )
    return made


def noise(label):
    return np.exp(np.random.default_rng(len(label)).normal(size=10) * 0.01)


def final(factors=FACTORS, seeds=10, **problem):
    """Return a final run whose labels reach a factor times the levels of the seeds."""
    made = [
        lane
        for label, factor in factors.items()
        for lane in lanes(label, (factor * LEVELS * noise(label))[:seeds])
    ]
    return tables(made, [network_problem(data="mnist-5k", random=True, **problem)])


def trials(**winning):
    """Return four trials of each label, of which the second is the best."""
    return [
        Trial(score * factor, label, hyperparameters={"lr": 0.01 * (place + 1)})
        for label, score in winning.items()
        for place, factor in enumerate((2.0, 1.0, 3.0, inf))
    ]


BOTH = trials(sgd=0.085, adam=0.028)


def shown(rows, width=80):
    """Return the lines that a terminal of this width shows."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(to_rich(sections(rows)))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def of(rows, label):
    (found,) = (row for _, row in rows.iterrows() if row["label"] == label)
    return found


def test_winners_are_judged_on_evaluation_seeds_with_the_interval_of_the_median():
    rows = results(study(BOTH, final()))
    assert rows["label"].tolist() == ["adam", "sgd"]  # the best first
    adam = of(rows, "adam")
    values = np.sort(0.03 * LEVELS * noise("adam"))
    assert adam["final"] == pytest.approx((values[4] + values[5]) / 2, rel=1e-12)
    assert [adam["final_low"], adam["final_high"]] == pytest.approx([values[1], values[8]])
    assert (adam["seeds"], adam["seeds_diverged"], adam["metric"]) == (10, 0, "validation_loss")
    assert adam["test_error"] == pytest.approx(0.05)
    assert (adam["trial"], adam["chosen"], adam["hp_lr"]) == (1, "lr=0.02", 0.02)
    default = np.sort(0.04 * LEVELS * noise("adam (default)"))
    assert adam["default"] == pytest.approx((default[4] + default[5]) / 2, rel=1e-12)


def test_what_was_promised_and_what_came_of_it():
    adam = of(results(study(BOTH, final())), "adam")
    assert adam["search_score"] == 0.028
    assert adam["optimism"] == pytest.approx(adam["final"] / 0.028 - 1.0, rel=1e-12)
    lines = sections(results(study(BOTH, final())))[0].facts
    percent = 100 * adam["optimism"]
    assert f"chosen promised 0.02800 ({percent:+.1f} % in the end)" in lines[0]


def test_what_the_search_met_and_spent():
    made = [
        Trial(0.3, seeds_diverged=1, steps=500),
        Trial(inf, steps=60),
        Trial(0.2),
        Trial(0.22, phase="finalists", trial=2, seeds=5),
    ]
    row = results(study(made)).iloc[0]
    assert (row["trials"], row["trials_diverged"], row["lanes_diverged"]) == (3, 1, 4)
    assert (row["unit"], row["spent"], row["budget"]) == ("steps", 500 + 60 + 600 + 1000, 2800)
    (line,) = sections(results(study(made)))[0].facts
    assert line == (
        "adam: 1 of 3 trials (4 lanes) diverged; spent 2,160 of 2,800 steps; chosen promised 0.2000"
    )
    (line,) = sections(results(study([Trial(0.3, seeds_diverged=1)])))[0].facts
    assert line.startswith("adam: 1 lane diverged; spent 600 of 600 steps")


@pytest.mark.parametrize(
    ("amount", "unit", "spent"),
    [
        (2000, "steps", "spent 1,800 of 2,000 steps"),
        (2000, "gradients", "spent 1,800 of 2,000 gradients"),
        (60, "s", "spent 2 of 60 s"),
    ],
)
def test_budgets_in_other_units(amount, unit, spent):
    given = f"{amount:,} {unit}"
    budget = {"given": given, "amount": amount, "unit": unit}
    made = study([Trial(0.3), Trial(0.2), Trial(0.1)], budget=budget)
    (section,) = sections(results(made))
    assert section.title.startswith(f"mnist-mlp, {given}: 3 trials × 3 seeds, random")
    assert spent in section.facts[0]


def test_trials_that_halving_ended_did_not_diverge_and_cost_less():
    made = [Trial(0.3), Trial(inf, culled_at=20, steps=60), Trial(inf, steps=9)]
    row = results(study(made, halving={"eta": 3})).iloc[0]
    assert (row["trials_diverged"], row["spent"], row["budget"]) == (1, 669, 600 + 60 + 600)
    assert sections(results(study(made, halving={"eta": 3})))[0].title == (
        "mnist-mlp, 3 trials × 3 seeds, random, halving, by validation loss"
    )


def test_the_verdict_is_that_of_compare_without_the_defaults():
    made = study(BOTH, final())
    found = compare(of_winners(made.final), Question("validation_loss"))
    (pair,) = found.rows
    d = np.log(0.03 * noise("adam")) - np.log(0.09 * noise("sgd"))
    low, high = map(exp, interval(d))
    assert (pair.a, pair.b) == ("adam", "sgd")
    assert [pair.estimate, pair.low, pair.high] == pytest.approx([exp(d.mean()), low, high])
    rows = results(made)
    assert of(rows, "sgd")["verdict"] == (
        f"adam is better than sgd: {exp(d.mean()):.3g} × its loss ({low:.3g}–{high:.3g}), "
        "sure at 5 % over 10 seeds"
    )
    assert rows["best"].tolist() == [True, False]
    assert rows["told_apart"].tolist() == [False, True]
    (section,) = sections(rows)
    assert section.bold == {0}
    assert of(rows, "sgd")["verdict"] in section.facts


def verdict(a, b, metric="validation_loss", **problem):
    """Return the sentence on two labels that end so."""
    made = [*lanes("adam", **a), *lanes("sgd", **b)]
    run = tables(made, [network_problem(**({"random": True} | problem))])
    rows = results(study(BOTH, run, metric=metric))
    return rows["verdict"].dropna().iloc[0]


def test_every_verdict_has_its_words():
    ten = 0.03 * LEVELS
    jitter = 1.0 + 1e-4 * np.array([1, -1, 2, -2, 1.5, -1.5, 1, -1, 2, -2])
    same = verdict({"losses": ten}, {"losses": ten * jitter})
    assert " and " in same
    assert "are equivalent: 1 × its loss" in same
    assert same.endswith("within ±1 % over 10 seeds")
    rough = np.exp(np.random.default_rng(5).normal(size=10) * 0.3)
    open_ = verdict({"losses": ten}, {"losses": ten * rough})
    assert " against " in open_
    assert "over 10 seeds: undecided (needs about" in open_
    few = verdict({"losses": ten[:3]}, {"losses": 2 * ten[:3]})
    assert few.startswith("adam against sgd: 0.5 × its loss")
    assert few.endswith("over 3 seeds: too few seeds (needs 6)")
    exact = verdict({"losses": ten[:1]}, {"losses": 4 * ten[:1]}, random=False)
    assert exact == "adam against sgd: 0.25 × its loss; nothing is random, so this is exact"
    lost = verdict({"losses": ten}, {"losses": [*(2 * ten[:8]), None, None]})
    assert lost == (
        "adam is better than sgd: wins 100 % (69–100 %), as lanes diverged, "
        "sure at 5 % over 10 seeds"
    )


def test_errors_differ_by_points():
    a, b = 0.02 * LEVELS, 0.02 * LEVELS + 0.01 + 1e-4 * np.arange(10)
    said = verdict(
        {"losses": LEVELS, "errors": a}, {"losses": LEVELS, "errors": b}, "validation_error"
    )
    # The mean of the differences is 1.045 points, and each half of a point at most 1.09.
    assert said.startswith("adam is better than sgd: -1.04 points (-1.0")
    run = tables(lanes("adam", LEVELS, errors=a), [network_problem(random=True)])
    rows = results(study(BOTH, run, metric="validation_error"))
    (section,) = sections(rows)
    assert section.rows[0][2] == "2.00 %"
    assert section.rows[0][3] == "1.92–2.08 %"


def test_a_metric_that_lanes_do_not_have_leaves_what_tables_rank_by():
    rows = results(study(BOTH, final(), metric="steps_to_target"))
    assert rows["metric"].tolist() == ["validation_loss"] * 2
    assert rows["optimism"].isna().all()
    assert rows["verdict"].notna().sum() == 1
    assert "by steps to target" in rows["heading"][0]


def test_steps_to_a_target_choose_and_are_written_as_steps():
    made = [Trial(32.0), Trial(40.5, seeds_diverged=1), Trial(inf, seeds_diverged=0)]
    target = {"mnist-mlp": {"rule": "start/10", "on": "loss", "value": 0.2302585}}
    rows = results(study(made, final(), metric="steps_to_target", target=target))
    assert ", by steps to loss ≤ 0.2303; 10 evaluation seeds" in rows["heading"][0]
    assert rows["scored_by"].tolist() == ["steps_to_target"]
    (section,) = sections(rows)
    assert section.facts == [
        "adam: 1 of 3 trials missed the target; 1 lane diverged; spent 1,800 of 1,800 steps; "
        "chosen promised 32 steps",
        "chosen by steps to target, judged by validation loss; optbench target has the steps of "
        "the final",
    ]
    assert section.warnings == []
    none = results(study([Trial(inf)], metric="steps_to_target", target=target))
    (section,) = sections(none)
    assert section.facts[0] == (
        "adam: 1 of 1 trials missed the target; 3 lanes diverged; spent 600 of 600 steps; "
        "no trial is at the target, and none was chosen"
    )
    at_once = results(study([Trial(0.0)], metric="steps_to_target", target=target))
    assert "the target is not below the start" in sections(at_once)[0].warnings


def test_problems_may_have_metrics_of_their_own():
    run = tables(
        [
            *lanes("adam", 0.03 * LEVELS),
            *lanes("sgd", 0.09 * LEVELS),
            *(
                Lane(label, [9.0, level], "f", seed=seed)
                for label, level in (("adam", 2.0), ("sgd", 1.0))
                for seed in range(10)
            ),
        ],
        [network_problem(random=True), function_problem("f", random=True)],
    )
    made = study(
        [*BOTH, Trial(2.0, "adam", "f"), Trial(1.0, "sgd", "f")],
        run,
        metric={"mnist-mlp": "validation_loss", "f": "final_loss"},
    )
    rows = results(made)
    assert rows["label"].tolist() == ["adam", "sgd", "sgd", "adam"]
    assert rows["metric"].tolist() == ["validation_loss"] * 2 + ["final_loss"] * 2
    assert rows["verdict"].notna().sum() == 2


def test_a_label_whose_trials_all_diverged_has_no_winner():
    made = study([*BOTH, *(Trial(inf, "lion") for _ in range(4))], final())
    rows = results(made)
    lion = of(rows, "lion")
    assert rows["label"].tolist()[-1] == "lion"
    assert np.isnan(lion["final"])
    assert lion[["trial", "chosen", "edge", "verdict"]].isna().all()
    (section,) = sections(rows)
    assert section.rows[2][1:3] == ["-", "-"]
    assert section.facts[2] == (
        "lion: 4 of 4 trials (12 lanes) diverged; spent 2,400 of 2,400 steps; "
        "no trial is finite, and none was chosen"
    )


def test_a_winner_that_diverges_in_the_end_is_the_worst():
    run = tables(
        [*lanes("adam", [None] * 10), *lanes("sgd", LEVELS)], [network_problem(random=True)]
    )
    rows = results(study(BOTH, run))
    assert rows["label"].tolist() == ["sgd", "adam"]
    assert rows["final"][1] == inf
    (section,) = sections(rows)
    assert section.colors == {1: "red"}
    assert section.rows[1][2:4] == ["diverged", "diverged–diverged"]


def test_edges_are_marked_and_said():
    made = study(BOTH, final())
    made.meta["winners"][0]["edge"] = "lr near 10, momentum near 0"
    (section,) = sections(results(made))
    assert section.columns[-1].heading == "edge"
    assert [row[-1] for row in section.rows] == ["-", "lr, momentum"]
    assert "sgd: lr near 10, momentum near 0: the best may lie beyond its space" in section.warnings


def test_spaces_that_differ_between_problems_are_marked():
    spaces = {"mnist-mlp": {"adam": {"lr": "log(1e-3, 1)"}}, "f": {"adam": {"lr": "log(1, 2)"}}}
    rows = results(study([Trial(0.1), Trial(0.2, problem="f")], spaces=spaces))
    assert rows["problem_specific"].all()
    assert "adam: its space is problem-specific" in sections(rows)[1].warnings


def test_few_seeds_and_none_have_a_word_instead_of_an_interval():
    (section,) = sections(results(study(BOTH, final(seeds=5))))
    assert "95 %" not in [column.heading for column in section.columns]
    assert section.warnings == ["no interval below 6 evaluation seeds"]
    run = tables(
        [Lane("adam", [9.0, 1.0], "f"), Lane("sgd", [9.0, 2.0], "f")],
        [function_problem("f", random=False)],
    )
    made = study(
        [Trial(1.0, "adam", "f", seeds=1), Trial(2.0, "sgd", "f", seeds=1)],
        run,
        metric="final_loss",
    )
    (section,) = sections(results(made))
    assert section.title == "f, 1 trials, random, by final loss"
    assert section.warnings == ["nothing is random: one lane each, no interval"]


def test_without_a_final_run_there_is_what_the_search_found():
    rows = results(study(BOTH, status="interrupted"))
    assert rows["final"].isna().all()
    assert rows["chosen"].tolist() == ["lr=0.02", "lr=0.02"]
    (section,) = sections(rows)
    assert section.bold == frozenset()
    assert section.warnings == ["the study is interrupted: these are not its last numbers"]
    assert [column.heading for column in section.columns][:3] == [
        "optimizer",
        "chosen",
        "validation loss",
    ]


def test_a_final_run_of_one_label_has_no_verdict():
    rows = results(study(trials(adam=0.028), final({"adam": 0.03, "adam (default)": 0.04})))
    assert rows["verdict"].isna().all()
    assert sections(rows)[0].bold == frozenset()


def test_the_final_run_may_have_begun_with_one_problem_only():
    rows = results(study([*BOTH, Trial(2.0, problem="f")], final()))
    assert rows["final"].isna().tolist() == [False, False, True]
    assert rows["heading"][2].startswith("f, 1 trials × 3 seeds")


def test_the_table_fits_80_columns_without_breaking_a_number():
    names = ("lr", "momentum")
    made = [
        Trial(score, label, hyperparameters=dict(zip(names, (0.0123456, 0.9938), strict=True)))
        for label, score in (("sgd", 0.085), ("adam", 0.028))
    ] + [
        Trial(9.0, label, hyperparameters=dict(zip(names, (0.1, 0.5), strict=True)))
        for label in ("sgd", "adam")
    ]
    tuned = study(made, final())
    tuned.meta["winners"][0]["edge"] = "lr near 10"
    lines = shown(results(tuned))
    assert max(map(len, lines)) <= 80
    values = np.sort(0.03 * LEVELS * noise("adam"))
    band = f"{values[1]:#.3g}–{values[8]:#.3g}"
    for word in ("lr=0.01235,", "momentum=0.9938", band, "sgd"):
        assert any(word in line for line in lines), lines
    assert lines[0] == ("mnist-mlp on mnist-5k, 2 trials × 3 seeds, random, by validation loss; 10")


def test_formats():
    rows = results(study(BOTH, final()))
    assert list(rows) == [*RESULT_COLUMNS, "hp_lr"]
    parsed = json.loads(to_json(rows))
    assert parsed[0]["final"] == rows["final"][0]
    assert parsed[0]["edge"] is None
    assert to_csv(rows).startswith("study,problem,heading,status,label,")
    text = to_markdown(sections(rows))
    assert "| optimizer | chosen | validation loss | 95 % | test error | default |" in text
    assert "| **adam** |" in text
    assert r"\textbf{adam} & \textbf{lr=0.02}" in to_latex(sections(rows))
