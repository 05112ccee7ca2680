from copy import deepcopy
from dataclasses import replace

import pytest

from optbench.gate.compare import compare
from optbench.report.differences import differences
from optbench.suite.values import seeds_text
from tests.gate.made import edited, function_lanes, made, network_lanes, only, saved, told

RUN = made(network_lanes() + function_lanes())
BASELINE = saved(RUN)


def changed(edit):
    """Return the run with another run.json."""
    meta = deepcopy(RUN.meta)
    edit(meta)
    return replace(RUN, meta=meta)


def problem(meta, name="mnist-mlp"):
    return next(each for each in meta["problems"] if each["problem"] == name)


def redefined(edit):
    """Return the run with another fingerprint of the network and another definition."""

    def change(meta):
        problem(meta)["fingerprint"] = "n2"
        edit(problem(meta)["definition"])

    return changed(change)


def test_a_hyperparameter_that_changed_is_one_failure_for_all_seeds():
    finding = only(compare(BASELINE, edited(RUN, "adam", hp_lr=0.105)))
    assert (finding.severity, finding.kind) == ("failure", "settings")
    assert finding.where == "mnist-mlp, adam"
    assert finding.message == "lr: 0.1 then, 0.105 now; 8 of 8 lanes"
    assert finding.values == {"path": "hyperparameters.lr", "then": 0.1, "now": 0.105}


def test_hyperparameters_that_came_or_went_are_told():
    more = edited(RUN, hp_eps=1e-8)
    verdict = compare(BASELINE, more)
    assert len(verdict.findings) == 3  # adam, and sgd on both problems
    message = "eps: nothing then, 1e-08 now"
    assert {f.message for f in verdict.findings} == {message, f"{message}; 8 of 8 lanes"}
    assert verdict.findings[0].values["then"] is None
    verdict = compare(saved(more), RUN)
    assert verdict.findings[0].message.startswith("eps: 1e-08 then, nothing now")


def test_several_hyperparameters_are_several_findings():
    mode = [None if label == "sgd" else "fast" for label in RUN.lanes["label"]]
    run = replace(RUN, lanes=edited(RUN, "adam", hp_lr=0.2).lanes.assign(hp_mode=mode))
    assert [f.message for f in compare(BASELINE, run).findings] == [
        "lr: 0.1 then, 0.2 now; 8 of 8 lanes",
        'mode: nothing then, "fast" now; 8 of 8 lanes',
    ]


def test_another_fingerprint_is_explained_by_the_definition():
    def edit(definition):
        definition["network"]["layers"][0] = "dense 200"
        del definition["network"]["init"]

    verdict = compare(BASELINE, redefined(edit))
    assert told(verdict) == [("failure", "settings", "mnist-mlp", "")] * 2
    assert [f.message for f in verdict.findings] == [
        'definition.network.layers[0]: "dense 100" then, "dense 200" now',
        'definition.network.init: "he" then, nothing now',
    ]


def test_other_data_are_named_by_their_checksum():
    data = {"checksums": {"mnist": "b" * 64}}
    run = redefined(lambda definition: definition.update(data=data))
    messages = [f.message for f in compare(BASELINE, run).findings]
    assert messages[0].startswith("definition.data.checksums.mnist-5k: aaaa")
    assert messages[0].endswith("now")
    assert messages[1].startswith("definition.data.checksums.mnist: nothing then")
    assert all(len(message) < 160 for message in messages)


def test_a_fingerprint_without_an_explanation_is_told_itself():
    finding = only(compare(BASELINE, redefined(lambda definition: None)))
    assert finding.message == 'fingerprint: "n1" then, "n2" now'


def test_many_differences_of_a_definition_end_in_a_list():
    more = {f"key{number}": number for number in range(12)}
    verdict = compare(BASELINE, redefined(lambda definition: definition.update(more)))
    assert len(verdict.findings) == 9
    assert verdict.findings[-1].message == (
        "its definition differs in 4 more places: "
        "definition.key8, definition.key9, definition.key10, definition.key11"
    )


def test_another_stream_is_one_finding_for_all_seeds():
    def with_digests(**digests):
        return changed(lambda meta: problem(meta)["stream_digests"].update(digests))

    finding = only(compare(BASELINE, with_digests(**{"1": "x", "2": "y", "5": "z"})))
    assert finding.seed == 1
    assert finding.message == (
        "start or first batches differ for seeds 1–2, 5: "
        'stream digest "digest1" then, "x" now for seed 1'
    )
    assert compare(BASELINE, with_digests(**{"99": "x"})).findings == ()  # a seed without a pair


def resolved(meta):
    entries = meta["suite"]["resolved"]["problem"]
    return next(each for each in entries if each["name"] == "mnist-mlp")


@pytest.mark.parametrize(
    ("entry", "change", "message"),
    [
        (problem, {"iterations": 300}, "iterations: 200 then, 300 now"),
        (resolved, {"stop": {"loss": 0.1}}, 'stop: nothing then, {"loss": 0.1} now'),
        (resolved, {"evaluate_every": 10}, "evaluate_every: nothing then, 10 now"),
    ],
)
def test_rules_that_decide_how_long_lanes_run_are_compared(entry, change, message):
    finding = only(compare(BASELINE, changed(lambda meta: entry(meta).update(change))))
    assert (finding.severity, finding.where, finding.message) == ("failure", "mnist-mlp", message)


def test_a_stopping_rule_that_changed_is_told_down_to_its_part():
    meta = deepcopy(RUN.meta)
    resolved(meta)["stop"] = {"patience": 10, "loss": 0.1}
    baseline = replace(BASELINE, meta=meta)
    run = changed(lambda meta: resolved(meta).update(stop={"patience": 20, "loss": 0.1}))
    assert only(compare(baseline, run)).message == "stop.patience: 10 then, 20 now"


def optimizer(meta, label="adam"):
    return next(each for each in meta["optimizers"] if each["label"] == label)


def test_a_label_that_a_side_does_not_describe_fails():
    run = changed(lambda meta: meta["optimizers"].pop())
    for verdict in (compare(BASELINE, run), compare(replace(BASELINE, meta=run.meta), RUN)):
        assert {(f.severity, f.kind, f.label) for f in verdict.findings} == {
            ("failure", "settings", "adam")
        }
    assert "nothing now" in compare(BASELINE, run).findings[0].message


def test_another_rule_under_the_same_label_fails():
    finding = only(compare(BASELINE, changed(lambda meta: optimizer(meta).update(rule="adamax"))))
    assert (finding.severity, finding.where) == ("failure", "adam")
    assert finding.message == 'rule: "adam" then, "adamax" now'


def plugin(sha="1", place="/a/mine.py", **more):
    return {"place": place, "sha256": sha, **more}


def test_code_of_a_plug_in_that_changed_is_what_a_gate_is_for_and_only_a_notice():
    def with_source(source):
        return changed(lambda meta: optimizer(meta).update(source=source))

    baseline = saved(with_source(plugin(version="1.0")))
    finding = only(compare(baseline, with_source(plugin("2", version="1.0"))))
    assert (finding.severity, finding.where) == ("notice", "adam")
    assert finding.message == 'its code has changed: mine.py: "1" then, "2" now'
    assert not finding.consequence
    moved = compare(baseline, with_source(plugin(place="/b/mine.py", version="1.0")))
    assert moved.findings == ()
    finding = only(compare(baseline, RUN))
    assert finding.severity == "failure"  # ours in the place of a plug-in


def of_one_file(sha, helper, problems=(), labels=("adam", "sgd")):
    """Return a run of which labels and problems come from one file that imports another."""

    def edit(meta):
        source = plugin(sha, modules={"helper": helper})
        for label in labels:
            optimizer(meta, label)["source"] = source
        for name in problems:
            entry = problem(meta, name)
            entry["source"] = source
            entry["fingerprint"] = f"{sha}{helper}"
            entry["definition"]["plugin"] = {
                "name": "Mine",
                "sha256": sha,
                "modules": {"helper": helper},
            }

    return changed(edit)


def test_a_file_that_changed_is_said_once_whatever_comes_from_it():
    run = of_one_file("2", "b")
    verdict = compare(saved(of_one_file("1", "a")), edited(run, final_loss=2.0))
    code = [finding for finding in verdict.findings if finding.kind == "settings"]
    assert [(f.severity, f.where, f.message) for f in code] == [
        ("notice", "", 'the code of sgd, adam has changed: mine.py: "1" then, "2" now'),
        ("notice", "", 'the code of sgd, adam has changed: modules.helper: "a" then, "b" now'),
    ]
    others = [finding for finding in verdict.findings if finding.kind == "quality"]
    assert len(others) == 3
    assert all(finding.message.endswith("; its code differs too") for finding in others)


def test_a_file_of_problems_that_changed_is_one_failure_and_explains_their_findings():
    both = ("anisotropic", "mnist-mlp")
    sides = of_one_file("1", "a", both, ()), of_one_file("2", "a", both, ())
    verdict = compare(saved(sides[0]), edited(sides[1], final_loss=2.0))
    (code,) = [finding for finding in verdict.findings if finding.kind == "settings"]
    assert (code.severity, code.where) == ("failure", "")
    assert code.message == (
        'the code of mnist-mlp, anisotropic has changed: mine.py: "1" then, "2" now'
    )
    assert code.values["problems"] == ["mnist-mlp", "anisotropic"]
    others = [finding for finding in verdict.findings if finding is not code]
    assert {finding.kind for finding in others} == {"quality"}
    assert all(finding.consequence for finding in others)


def test_nothing_is_said_of_settings_where_nothing_is_paired():
    other = made(network_lanes(seeds=range(8, 16)))
    assert all(f.kind != "settings" for f in compare(BASELINE, other).findings)


def test_differences_of_lists_of_other_lengths_are_told_as_a_whole():
    assert [str(each) for each in differences([1, 2], [1], "start")] == [
        "start: [1, 2] then, [1] now"
    ]
    assert list(differences({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]})) == []


def test_seeds_are_drawn_together():
    assert seeds_text([3, 1, 2, 9, 2]) == "seeds 1–3, 9"
