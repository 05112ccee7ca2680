"""``optbench plot``: which figures of which runs go where."""

import re
import shutil
from xml.etree import ElementTree

import matplotlib
import pytest

from optbench.cli import plot as command
from optbench.report.plots import KINDS, OVERALL
from optbench.report.plots.options import PlotOptions
from tests.cli.command import optbench, run, suite

MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}
SWEEP = ("--grid", "*.lr=0.01,0.1,1")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a line, a valley, a sweep, and a sweep of a network, each its own run."""
    cwd = tmp_path_factory.mktemp("made")
    run("quadratic-1d", "--iterations", 3, cwd=cwd)
    run("anisotropic", "--iterations", 3, cwd=cwd)
    run("anisotropic", "--iterations", 3, "--name", "sweep", *SWEEP, cwd=cwd)
    network = ("mnist-mlp", "--data", "mnist-5k", "--iterations", 2, "--batch-size", 2)
    run(*network, "--name", "network", "-o", "sgd", "--seeds", 2, *SWEEP, cwd=cwd)
    return cwd


@pytest.fixture
def cwd(made, tmp_path):
    """The same, to be changed by one test."""
    shutil.copytree(made / "results", tmp_path / "results")
    return tmp_path


@pytest.fixture
def drawn(monkeypatch):
    """Record what is drawn instead of drawing it: kind, run and problem, and the options."""
    calls = []

    class Paper:
        def findobj(self, kind):
            return []

        def savefig(self, place, format):  # matplotlib's name
            place.write_text(format)

    def draw(kind, tables, problem, options):
        calls.append((kind, tables.path.name.split("-2")[0], problem, options))
        return Paper()

    monkeypatch.setattr(command, "draw", draw)
    return calls


def name(cwd, prefix):
    (path,) = (cwd / "results").glob(f"{prefix}-2*")
    return path.name


def figures(seen):
    assert (seen.code, seen.err) == (0, ""), seen
    assert all(path.is_file() for path in seen.paths)
    return [path.name for path in seen.paths]


# Which figures.


@pytest.mark.parametrize(
    ("prefix", "kinds"),
    [
        ("quadratic-1d", ["trajectory", "loss"]),
        ("anisotropic", ["trajectory", "loss"]),
        ("sweep", ["trajectory", "loss", "sensitivity"]),
        ("network", ["loss", "sensitivity"]),
    ],
)
def test_auto_draws_what_fits(cwd, prefix, kinds):
    seen = optbench("plot", prefix, cwd=cwd)
    titles = {"sweep": "anisotropic", "network": "mnist-mlp"}
    problem = titles.get(prefix, prefix)
    assert figures(seen) == [f"{problem}-{kind}.png" for kind in kinds]
    assert {path.parent for path in seen.paths} == {cwd / "results" / name(cwd, prefix) / "plots"}
    assert all(path.read_bytes().startswith(MAGIC["png"]) for path in seen.paths)


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind not in ("schedule", "effects", "ranks", "evaluation")]
)
def test_every_kind_can_be_asked_for(cwd, kind):
    name = f"{kind}.png" if kind in OVERALL else f"anisotropic-{kind}.png"
    assert figures(optbench("plot", "sweep", "--kind", kind, cwd=cwd)) == [name]


def test_effects_are_those_of_optimizers_with_a_configuration_each(cwd):
    assert figures(optbench("plot", "anisotropic", "--kind", "effects", cwd=cwd)) == [
        "anisotropic-effects.png"
    ]


@pytest.mark.parametrize("form", list(MAGIC))
def test_every_format_is_what_it_says(cwd, form):
    seen = optbench("plot", "quadratic", "--kind", "loss", "--format", form, cwd=cwd)
    assert figures(seen) == [f"quadratic-1d-loss.{form}"]
    assert seen.path.read_bytes().startswith(MAGIC[form])


@pytest.mark.parametrize(
    ("prefix", "kind", "fits"),
    [
        ("quadratic-1d", "surface", "trajectory, loss"),
        ("quadratic-1d", "sensitivity", "trajectory, loss"),
        ("anisotropic", "sensitivity", "trajectory, surface, field, loss"),
        ("network", "surface", "loss, sensitivity, tolerance"),
    ],
)
def test_a_kind_that_does_not_fit_is_refused_with_those_that_do(made, prefix, kind, fits):
    message = optbench("plot", prefix, "--kind", kind, cwd=made).message
    assert message == f"none of these runs can be drawn as {kind}; what fits: {fits}"


def test_several_kinds_are_drawn_one_after_the_other(cwd, drawn):
    kinds = ("--kind", "field", "--kind", "loss", "--kind", "field")
    seen = optbench("plot", "anisotropic", *kinds, cwd=cwd)
    assert figures(seen) == ["anisotropic-field.png", "anisotropic-loss.png"]
    seen = optbench("plot", "anisotropic", "--kind", "auto", *kinds, cwd=cwd)
    assert [call[0] for call in drawn[2:]] == ["trajectory", "loss", "field"]


def test_where_one_of_several_kinds_does_not_fit_none_is_drawn(made, drawn):
    kinds = ("--kind", "loss", "--kind", "surface")
    message = optbench("plot", "quadratic-1d", *kinds, cwd=made).message
    assert message == "none of these runs can be drawn as surface; what fits: trajectory, loss"
    assert drawn == []


def test_of_several_runs_those_that_fit_are_drawn(cwd, drawn):
    figures(optbench("plot", "quadratic", "anisotropic", "--kind", "field", cwd=cwd))
    assert [call[:2] for call in drawn] == [("field", "anisotropic")]


# Which runs.


@pytest.mark.parametrize("how", ["name", "prefix", "path", "slash", "run.json", "dots", "absolute"])
def test_a_run_is_a_path_a_name_or_a_prefix(cwd, drawn, how):
    full = name(cwd, "anisotropic")
    argument = {
        "name": full,
        "prefix": full[:-3],
        "path": f"results/{full}",
        "slash": f"results/{full}/",
        "run.json": f"results/{full}/run.json",
        "dots": f"./results/../results/{full}",
        "absolute": cwd / "results" / full,
    }[how]
    figures(optbench("plot", argument, "--kind", "loss", cwd=cwd))
    assert [call[1] for call in drawn] == ["anisotropic"]


def test_latest_is_one_run_and_nothing_the_latest_invocation(cwd, drawn):
    optbench("run", "anisotropic", "quadratic-1d", "--iterations", 1, "-q", cwd=cwd)
    figures(optbench("plot", "latest", "--kind", "loss", cwd=cwd))
    figures(optbench("plot", "--kind", "loss", cwd=cwd))
    assert [call[1] for call in drawn] == ["quadratic-1d", "anisotropic", "quadratic-1d"]


def test_a_run_named_twice_is_drawn_once(cwd, drawn):
    figures(optbench("plot", "latest", "latest", "--kind", "loss", cwd=cwd))
    assert len(drawn) == 1


def test_an_ambiguous_prefix_names_what_it_could_mean(cwd):
    shutil.copytree(cwd / "results" / name(cwd, "sweep"), cwd / "results" / "sweeter")
    message = optbench("plot", "swee", cwd=cwd).message
    assert message.startswith("'swee' means 2 runs: ")
    assert "sweeter" in message


# Where to.


def test_out_is_where_the_runs_are(cwd, drawn):
    (cwd / "results").rename(cwd / "elsewhere")
    seen = optbench("plot", "sweep", "--out", "elsewhere", "--kind", "loss", cwd=cwd)
    figures(seen)
    assert seen.path.parent.name == "plots"
    assert seen.path.parents[2] == cwd / "elsewhere"


def test_out_is_no_place_for_figures(made):
    message = optbench("plot", "sweep", "--out", "figures", cwd=made).message
    assert message == "there is no run 'sweep': 'figures' holds none; see optbench run"


def test_plots_of_a_run_are_drawn_anew(cwd, drawn):
    path = optbench("plot", "quadratic", "--kind", "loss", cwd=cwd).path
    path.write_text("old")
    figures(optbench("plot", "quadratic", "--kind", "loss", cwd=cwd))
    assert path.read_text() == "png"


@pytest.mark.parametrize("target", ["figures", "a/b/c", "v1.2"])
def test_figures_are_saved_in_a_folder(cwd, drawn, target):
    seen = optbench("plot", "anisotropic", "--save", target, "--format", "svg", cwd=cwd)
    assert figures(seen) == ["anisotropic-trajectory.svg", "anisotropic-loss.svg"]
    assert {path.parent for path in seen.paths} == {cwd / target}


def test_figures_of_several_runs_in_one_folder_bear_the_names_of_the_runs(cwd, drawn):
    seen = optbench(
        *(
            "plot",
            "quadratic",
            "--kind",
            "loss",
            "anisotropic",
            "--kind",
            "loss",
            "--save",
            "figures",
        ),
        cwd=cwd,
    )
    assert figures(seen) == [
        f"{name(cwd, 'quadratic-1d')}-quadratic-1d-loss.png",
        f"{name(cwd, 'anisotropic')}-anisotropic-loss.png",
    ]


@pytest.mark.parametrize("target", ["figure.pdf", "figure.PDF", "new/figure.pdf"])
def test_a_figure_is_saved_in_a_file_whose_suffix_is_the_format(cwd, drawn, target):
    seen = optbench("plot", "quadratic", "--kind", "loss", "--save", target, cwd=cwd)
    figures(seen)
    assert seen.path == cwd / target
    assert seen.path.read_text() == "pdf"


def test_a_file_and_another_format_contradict_each_other(made):
    arguments = ("plot", "quadratic", "--kind", "loss", "--save", "figure.pdf", "--format", "svg")
    assert "'figure.pdf' contradicts --format svg" in optbench(*arguments, cwd=made).message


@pytest.mark.parametrize("name", ["loss.jpg", "loss.GIF", "figures/loss.eps"])
def test_a_suffix_that_is_no_format_is_refused_unless_it_is_a_folders(cwd, drawn, name):
    message = optbench("plot", "quadratic", "--kind", "loss", "--save", name, cwd=cwd).message
    assert message.startswith(f"the suffix of '{name}' names no format; end it in png, svg, pdf")
    (cwd / name).mkdir(parents=True)
    assert (
        optbench("plot", "quadratic", "--kind", "loss", "--save", name, cwd=cwd).path.parent
        == cwd / name
    )


def test_one_file_does_not_hold_two_figures(made):
    message = optbench("plot", "anisotropic", "--save", "figure.png", cwd=made).message
    assert message == "'figure.png' is one file for 2 figures; give a folder"


@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_what_is_there_is_not_overwritten(cwd, drawn, there):
    place = cwd / "mine.png"
    if there == "file":
        place.write_text("mine")
    elif there == "folder":
        place.mkdir()
    else:
        place.symlink_to(cwd / "nowhere")
    message = optbench("plot", "quadratic", "--kind", "loss", "--save", "mine.png", cwd=cwd).message
    why = (
        "already exists; give --force, or" if there == "file" else "exists and is not a file; give"
    )
    assert message == f"'mine.png' {why} another name"
    assert drawn == []
    assert there != "file" or place.read_text() == "mine"
    assert there != "link" or place.is_symlink()


def test_force_overwrites_files_and_nothing_else(cwd, drawn):
    for name in ("mine.png", "real.png"):
        (cwd / name).write_text("mine")
    (cwd / "link.png").symlink_to("real.png")
    (cwd / "folder.png").mkdir()
    for name in ("mine.png", "link.png"):
        figures(optbench("plot", "quadratic", "--kind", "loss", "--save", name, "--force", cwd=cwd))
        assert (cwd / name).read_text() == "png"
    assert (cwd / "link.png").is_symlink()
    message = optbench(
        "plot", "quadratic", "--kind", "loss", "--save", "folder.png", "--force", cwd=cwd
    ).message
    assert message == "'folder.png' exists and is not a file; give another name"


def test_force_without_a_file_means_nothing(made):
    message = optbench("plot", "quadratic", "--kind", "loss", "--force", cwd=made).message
    assert message.startswith("--force belongs to --save or --animate")


def test_nothing_is_written_where_one_figure_would_be_in_the_way(cwd, drawn):
    (cwd / "figures").mkdir()
    (cwd / "figures" / "anisotropic-loss.png").write_text("mine")
    message = optbench("plot", "anisotropic", "--save", "figures", cwd=cwd).message
    assert "'figures/anisotropic-loss.png' already exists" in message
    assert [path.name for path in (cwd / "figures").iterdir()] == ["anisotropic-loss.png"]


def test_nothing_is_written_where_one_figure_cannot_be_drawn(cwd):
    message = optbench("plot", "anisotropic", "--x", "epoch", cwd=cwd).message
    assert message == "'anisotropic' has no epochs; x must be iteration or seconds"
    assert not (cwd / "results" / name(cwd, "anisotropic") / "plots").exists()


def test_titles_that_would_give_one_file_name_give_two(tmp_path, drawn):
    problem = "[[problem]]\nname = 'quadratic-1d'\nlabel = '{}'\n"
    text = f"{problem.format('a b')}{problem.format('a/b')}[[optimizer]]\nname = 'sgd'\n"
    run(suite(tmp_path, text), "--iterations", 1, cwd=tmp_path)
    seen = optbench("plot", "--kind", "loss", cwd=tmp_path)
    assert figures(seen) == ["a-b-loss.png", "a-b-loss-2.png"]


# Several runs in one figure.


@pytest.fixture(scope="module")
def alike(tmp_path_factory):
    """A folder with two runs that share a problem, each with one of its own, and a longer one."""
    cwd = tmp_path_factory.mktemp("alike")
    for run_name, own in (("one", "booth"), ("two", "matyas")):
        problems = ("--problem", "saddle", "--problem", own, "--iterations", 3)
        run(*problems, "-o", "adam", "-o", "sgd", "--name", run_name, cwd=cwd)
    run("--problem", "saddle", "--problem", "booth", "--iterations", 4, "--name", "long", cwd=cwd)
    return cwd


@pytest.fixture
def pair(alike, tmp_path):
    """The same, to be changed by one test."""
    shutil.copytree(alike / "results", tmp_path / "results")
    return tmp_path


def mark(cwd, prefix):
    return name(cwd, prefix)[-8:]


def test_what_named_runs_share_is_drawn_in_one_figure(pair, drawn):
    seen = optbench("plot", "--kind", "loss", "one", "two", cwd=pair)
    marks = f"{mark(pair, 'one')}-{mark(pair, 'two')}"
    assert figures(seen) == [f"saddle-loss-{marks}.png", "booth-loss.png", "matyas-loss.png"]
    folders = [path.parents[1].name for path in seen.paths]
    assert folders == [name(pair, each) for each in ("one", "one", "two")]
    assert [call[1:3] for call in drawn] == [
        ("one", "saddle"), ("one", "booth"), ("two", "matyas")
    ]  # fmt: skip


def test_the_figure_of_two_runs_tells_their_labels_apart(pair):
    arguments = ("plot", "--kind", "loss", "one", "two", "--problem", "saddle", "--format", "svg")
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        seen = optbench(*arguments, cwd=pair)
    figures(seen)
    texts = [
        element.text
        for element in ElementTree.parse(seen.path).iter("{http://www.w3.org/2000/svg}text")
    ]
    for label in ("Adam", "SGD"):
        for each in ("one", "two"):
            assert f"{label} ({each})" in texts


def test_runs_that_are_not_alike_are_refused_with_the_places_that_differ(alike, drawn):
    message = optbench("plot", "--kind", "loss", "one", "long", cwd=alike).message
    assert message == (
        f"'saddle' is not the same in {name(alike, 'one')} and {name(alike, 'long')}: "
        "iterations 3 and 4; draw these runs one by one"
    )
    assert drawn == []


def test_what_is_not_drawn_need_not_be_alike(alike, drawn):
    message = optbench("plot", "--kind", "loss", "one", "two", "long", cwd=alike).message
    assert "'saddle' is not the same" in message
    arguments = ("plot", "--kind", "loss", "two", "long", "--problem", "matyas")
    figures(optbench(*arguments, cwd=alike))
    assert [call[1:3] for call in drawn] == [("two", "matyas")]


def test_only_losses_are_joined_and_only_where_runs_are_named(pair, drawn):
    figures(optbench("plot", "--kind", "trajectory", "one", "long", cwd=pair))
    assert [call[1] for call in drawn] == ["one", "one", "long", "long"]
    figures(optbench("plot", "one", "long", "--problem", "saddle", cwd=pair))
    assert [call[:2] for call in drawn[4:]] == [
        (kind, each) for each in ("one", "long") for kind in ("trajectory", "loss")
    ]


def test_the_runs_of_the_latest_invocation_are_drawn_one_by_one(tmp_path, drawn):
    text = "[[problem]]\nname = 'saddle'\n[[optimizer]]\nname = 'sgd'\n"
    files = [suite(tmp_path, text, each) for each in ("one", "two")]
    optbench("run", *files, "--iterations", 2, "-q", cwd=tmp_path)
    seen = optbench("plot", "--kind", "loss", cwd=tmp_path)
    assert figures(seen) == ["saddle-loss.png", "saddle-loss.png"]
    assert [call[1] for call in drawn] == ["one", "two"]


def test_a_joined_figure_goes_where_the_user_says_and_overwrites_nothing(pair, drawn):
    arguments = ("plot", "--kind", "loss", "one", "two", "--problem", "saddle", "--save")
    marks = f"{mark(pair, 'one')}-{mark(pair, 'two')}"
    assert figures(optbench(*arguments, "figures", cwd=pair)) == [f"saddle-loss-{marks}.png"]
    assert "already exists" in optbench(*arguments, "figures", cwd=pair).message
    assert figures(optbench(*arguments, "mine.svg", cwd=pair)) == ["mine.svg"]
    assert "'mine.svg' already exists" in optbench(*arguments, "mine.svg", cwd=pair).message
    assert len(drawn) == 2


def test_many_runs_or_long_names_are_a_number_and_a_digest(pair, drawn):
    long = "x" * 80
    (pair / "results" / name(pair, "two")).rename(pair / "results" / long)
    seen = optbench("plot", "--kind", "loss", "one", long, "--problem", "saddle", cwd=pair)
    assert re.fullmatch("saddle-loss-2-runs-[0-9a-f]{8}.png", figures(seen)[0])


# Options of the figures.


def test_options_reach_the_figure(cwd, drawn):
    figures(optbench("plot", "quadratic", "--kind", "loss", cwd=cwd))
    options = ("--smooth", 5, "--ylim", "-0.5,2e3", "--x", "seconds")
    figures(optbench("plot", "quadratic", "--kind", "loss", *options, cwd=cwd))
    figures(optbench("plot", "quadratic", "--kind", "loss", "--log", "--band", "interval", cwd=cwd))
    assert [call[3] for call in drawn] == [
        PlotOptions(),
        PlotOptions(smooth=5, ylim=(-0.5, 2000.0), x="seconds"),
        PlotOptions(log=True, band="interval"),
    ]


def test_a_band_is_one_of_two(made):
    message = optbench("plot", "quadratic", "--kind", "loss", "--band", "minmax", cwd=made).message
    assert message == "band = 'minmax' must be spread or interval"


def test_a_network_has_epochs(cwd):
    figures(optbench("plot", "network", "--kind", "loss", "--x", "epoch", cwd=cwd))


def test_show_opens_every_figure(cwd, drawn, monkeypatch):
    opened = []
    monkeypatch.setattr(command.typer, "launch", opened.append)
    seen = optbench("plot", "anisotropic", "--show", cwd=cwd)
    assert [cwd / path for path in opened] == seen.paths
    assert len(opened) == 2


@pytest.mark.parametrize("label", ["$\\frac$", "_hidden", "[bold] {x} 50 %", "a$b|Größe"])
def test_labels_are_drawn_as_they_stand(tmp_path, label):
    entry = f"label = '{label}'"
    text = f"[[problem]]\nname = 'anisotropic'\n{entry}\n[[optimizer]]\nname = 'sgd'\n{entry}\n"
    run(suite(tmp_path, text), "--iterations", 1, cwd=tmp_path)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        seen = optbench("plot", "--kind", "loss", "--format", "svg", cwd=tmp_path)
    figures(seen)
    texts = [
        element.text
        for element in ElementTree.parse(seen.path).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert [(text or "").strip() for text in texts].count(label) == 2  # title and legend


def test_what_no_font_has_is_said_in_one_line(tmp_path):
    hieroglyphs = "\U00013000\U00013001"
    text = (
        f"[[problem]]\nname = 'anisotropic'\n[[optimizer]]\nname = 'sgd'\nlabel = '{hieroglyphs}'"
    )
    run(suite(tmp_path, text), "--iterations", 1, cwd=tmp_path)
    seen = optbench("plot", cwd=tmp_path)
    assert (seen.code, len(seen.paths)) == (0, 2)
    font = (
        f"no font on this machine has {hieroglyphs}, so figures show boxes; install one that does"
    )
    assert seen.err == f"{font}\n"


# One problem of several, and animations.


@pytest.fixture
def raced(monkeypatch):
    """Record races instead of drawing them: run, problem, and the form of the file."""
    calls = []

    def animate(tables, problem, place, form):
        calls.append((tables.path.name.split("-2")[0], problem, form))
        place.write_text("race")
        return ""

    monkeypatch.setattr("optbench.report.plots.files.animate", animate)
    return calls


def test_problem_picks_what_is_drawn(cwd, drawn):
    figures(
        optbench(
            "plot",
            "anisotropic",
            "quadratic",
            "--kind",
            "loss",
            "--problem",
            "quadratic-1d",
            cwd=cwd,
        )
    )
    assert [call[:3] for call in drawn] == [("loss", "quadratic-1d", "quadratic-1d")]


def test_an_unknown_problem_is_answered_with_the_nearest(made):
    message = optbench("plot", "anisotropic", "--problem", "anistropic", cwd=made).message
    assert message == "these runs have no problem 'anistropic'; did you mean 'anisotropic'?"


def test_animate_writes_a_gif(cwd):
    seen = optbench("plot", "anisotropic", "--animate", "new/race.gif", cwd=cwd)
    assert figures(seen) == ["race.gif"]
    assert seen.path == cwd / "new" / "race.gif"
    assert seen.path.read_bytes().startswith(b"GIF89a")
    assert [each.name for each in seen.path.parent.iterdir()] == ["race.gif"]


def test_animate_takes_the_one_function_of_few_variables(cwd, raced):
    figures(optbench("plot", "anisotropic", "network", "--animate", "race.GIF", cwd=cwd))
    assert raced == [("anisotropic", "anisotropic", "gif")]
    assert (cwd / "race.GIF").read_text() == "race"


def test_animate_looks_for_runs_where_out_says(cwd, raced):
    (cwd / "results").rename(cwd / "elsewhere")
    arguments = ("plot", "sweep", "--out", "elsewhere", "--animate", "race.gif")
    assert optbench(*arguments, cwd=cwd).path == cwd / "race.gif"


def test_an_animation_can_be_opened(cwd, raced, monkeypatch):
    opened = []
    monkeypatch.setattr(command.typer, "launch", opened.append)
    optbench("plot", "sweep", "--animate", "race.gif", "--show", cwd=cwd)
    assert opened == ["race.gif"]


def test_a_race_that_fails_leaves_nothing(cwd, monkeypatch):
    def animate(tables, problem, place, form):
        place.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("optbench.report.plots.files.animate", animate)
    message = optbench("plot", "sweep", "--animate", "new/race.gif", cwd=cwd).message
    assert message.startswith("cannot write results to 'new/race.gif': No space left on device")
    assert list((cwd / "new").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--animate", "race.png"), "'race.png' must end in .gif or .mp4"),
        (("--animate", "race.gif", "--kind", "loss"), "--animate shows a trajectory, not a loss"),
        (("--animate", "race.gif", "--format", "svg"), "--format is for figures"),
        (("--animate", "race.gif", "--save", "figures"), "--save is for figures; --animate names"),
    ],
)
def test_what_contradicts_an_animation_is_refused(made, arguments, says):
    assert says in optbench("plot", "anisotropic", *arguments, cwd=made).message


def test_a_race_needs_a_function_of_few_variables(made):
    message = optbench("plot", "network", "--animate", "race.gif", cwd=made).message
    says = "none of these runs can be drawn as trajectory; what fits: loss, sensitivity, tolerance"
    assert message == says


def test_one_file_shows_one_race(made, raced):
    message = optbench("plot", "anisotropic", "sweep", "--animate", "race.gif", cwd=made).message
    assert message == "'race.gif' shows one race and there are 2; name one run"
    assert raced == []


def test_of_several_functions_one_is_named(tmp_path, raced):
    problem = "[[problem]]\nname = 'anisotropic'\nlabel = '{}'\n"
    text = f"{problem.format('a')}{problem.format('b')}[[optimizer]]\nname = 'sgd'\n"
    run(suite(tmp_path, text), "--iterations", 1, cwd=tmp_path)
    message = optbench("plot", "--animate", "race.gif", cwd=tmp_path).message
    assert message == "'race.gif' shows one race and there are 2; choose one with --problem"
    optbench("plot", "--animate", "race.gif", "--problem", "b", cwd=tmp_path)
    assert [call[1] for call in raced] == ["b"]


def test_an_animation_is_overwritten_only_by_force(cwd, raced):
    (cwd / "race.gif").write_text("mine")
    message = optbench("plot", "sweep", "--animate", "race.gif", cwd=cwd).message
    assert message == "'race.gif' already exists; give --force, or another name"
    assert (cwd / "race.gif").read_text() == "mine"
    assert raced == []
    figures(optbench("plot", "sweep", "--animate", "race.gif", "--force", cwd=cwd))
    assert (cwd / "race.gif").read_text() == "race"
