"""`boostfocal compare` end to end, on a small made table, with the real engines."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics
from typer.testing import CliRunner

import boostfocal
from boostfocal.cli import app
from boostfocal.compare import judged, reading, run, snippet, splits, summary
from boostfocal.compare import table as tables
from boostfocal.compare.contenders import CONTENDERS, FOCAL, GAMMA_0, LOG_LOSS, Contender, draw_trials
from boostfocal.compare.summary import Difference
from boostfocal.metrics import scores

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:joblib.*", "ignore::DeprecationWarning")

ENGINES = ("xgboost", "lightgbm")


def make_frame(n: int = 1500, signal_strength: float = 2.0) -> pd.DataFrame:
    rng = np.random.default_rng(11)
    x = rng.normal(size=(n, 3))
    chance = 1 / (1 + np.exp(3 - signal_strength * x[:, 0]))
    return pd.DataFrame(
        {
            "a": x[:, 0],
            "b": np.where(rng.random(n) < 0.1, np.nan, x[:, 1]),
            "kind": rng.choice(["u", "v", "w"], n),
            "day": np.arange(n) // 15,
            "fraud": np.where(rng.random(n) < chance, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table") / "payments.csv"
    make_frame().to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def compared(csv: Path) -> tuple[tables.Table, list[splits.Split], run.Options, list[run.Result]]:
    table = tables.prepare("payments.csv", reading.read(csv)[0], "fraud", positive="yes", drop=["day"])
    parts = splits.make_splits(table, folds=2, repeats=1, gap=None, seed=0)
    options = run.Options(trials=2, rounds=40, select="average_precision", k=50, seed=0)
    return table, parts, options, run.compare(table, parts, ENGINES, options)


def test_every_contender_is_tested_on_every_split_with_the_same_rows(compared) -> None:  # type: ignore[no-untyped-def]
    _, parts, _, results = compared
    assert len(results) == 2 * 2 * len(CONTENDERS)
    for result in results:
        np.testing.assert_array_equal(result.test, parts[result.split].test)
        assert ((result.proba >= 0) & (result.proba <= 1)).all()
        assert result.metrics["average_precision"] > 0.25  # far above the base rate


def test_probabilities_of_our_objectives_average_to_the_true_rate_and_weighted_ones_do_not(compared) -> None:  # type: ignore[no-untyped-def]
    table, _, _, results = compared
    for result in results:
        rate = table.labels[result.test].mean()
        standard_error = np.sqrt(rate * (1 - rate) / result.test.size)
        if result.contender in (GAMMA_0.name, FOCAL.name, LOG_LOSS.name):
            assert abs(result.proba.mean() - rate) < 4 * standard_error, (result.engine, result.contender)
        else:
            assert result.proba.mean() > rate + 4 * standard_error


def test_tuning_never_sees_the_test_rows() -> None:
    """With the labels of the test rows turned round, every choice made in the split stays the same."""
    table = tables.prepare("t", make_frame(600), "fraud", positive="yes", drop=["day"])
    parts = splits.make_splits(table, folds=2, repeats=1, gap=None, seed=0)[:1]
    turned = table.labels.copy()
    turned[parts[0].test] = 1 - turned[parts[0].test]
    options = run.Options(trials=2, rounds=20, select="log_loss", k=20, seed=0)
    chosen = []
    for labels in (table.labels, turned):
        results = run.compare(replace(table, labels=labels), parts, ("lightgbm",), options)
        chosen.append([(r.parameters, r.hyperparameters, r.rounds, r.proba.tolist()) for r in results])
    assert chosen[0] == chosen[1]


def test_contenders_share_the_draws_of_shared_hyperparameters() -> None:
    drawn = [[(t.learning_rate, t.reg_lambda, t.min_child_weight) for t in draw_trials(c, 6, 3)] for c in CONTENDERS]
    assert all(one == drawn[0] for one in drawn)
    assert len(set(drawn[0])) == 6
    assert all(len(draw_trials(c, 4, 0)) == 4 for c in CONTENDERS)


def differences(focal: tuple[float, float | None], zero: tuple[float, float | None], gamma: tuple[float, float | None]):  # type: ignore[no-untyped-def]
    pairs = ((FOCAL, LOG_LOSS, focal), (GAMMA_0, LOG_LOSS, zero), (FOCAL, GAMMA_0, gamma))
    return [
        Difference("xgboost", a.name, b.name, key, *d) for a, b, d in pairs for key in ("average_precision", "log_loss")
    ]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (((0.1, 0.02), (0.0, 0.02), (0.1, 0.05)), "focal loss helps here, and gamma itself does"),
        (
            ((0.1, 0.02), (0.1, 0.02), (0.0, 0.05)),
            "what helps is the bounded step and alpha of our objective, not gamma",
        ),
        (((0.0, 0.02), (0.1, 0.02), (-0.1, 0.05)), "not gamma, which even costs"),
        (((0.01, 0.02), (0.01, 0.02), (0.0, 0.05)), "no evidence that focal loss helps here"),
        (((-0.1, 0.02), (0.0, 0.02), (-0.1, 0.05)), "focal loss is worse than log loss here"),
        (((0.1, None), (0.1, None), (0.0, None)), "one split gives no interval, so no verdict"),
    ],
)
def test_the_verdict_says_what_the_intervals_say(found, words: str) -> None:  # type: ignore[no-untyped-def]
    precision, loss = (judged.SELECTION_METRICS[key] for key in ("average_precision", "log_loss"))
    assert words in summary._on_focal_loss("xgboost", differences(*found), precision)
    mirrored = [(-mean, half_width) for mean, half_width in found]  # of log loss, less is better
    assert words in summary._on_focal_loss("xgboost", differences(*mirrored), loss)


def with_figures(results: list[run.Result], metric: Callable[[run.Result], float]) -> list[run.Result]:
    return [replace(result, metrics=dict.fromkeys(result.metrics, metric(result))) for result in results]


def test_without_proof_the_winner_is_log_loss(compared) -> None:  # type: ignore[no-untyped-def]
    _, parts, options, results = compared
    unproven = with_figures(results, lambda r: 0.5 if r.contender == LOG_LOSS.name else 0.4 + 0.4 * r.split)
    assert summary.summarize(unproven, parts, options).winner.contender == LOG_LOSS.name
    proven = with_figures(results, lambda r: 0.9 if r.contender == FOCAL.name else 0.5)
    assert summary.summarize(proven, parts, options).winner.contender == FOCAL.name


def test_calibration_error_and_brier_score_against_direct_computation() -> None:
    rng = np.random.default_rng(2)
    proba = rng.random(1000) ** 2
    labels = (rng.random(1000) < proba).astype(int)
    order = np.argsort(proba)
    bins = [order[i * 100 : (i + 1) * 100] for i in range(10)]
    expected = np.mean([abs(proba[b].mean() - labels[b].mean()) for b in bins])
    assert scores.expected_calibration_error(labels, proba) == pytest.approx(expected, abs=2e-3)
    assert scores.expected_calibration_error(labels, np.full(1000, labels.mean())) == pytest.approx(0, abs=1e-12)
    assert scores.brier(labels, proba) == pytest.approx(
        np.mean([(p - y) ** 2 for p, y in zip(proba, labels, strict=True)])
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("contender", [c.name for c in CONTENDERS])
def test_the_winners_code_runs_and_its_probabilities_are_its_contenders(csv, compared, engine, contender) -> None:  # type: ignore[no-untyped-def]
    table, _, _, results = compared
    result = next(r for r in results if (r.engine, r.contender) == (engine, contender))
    scope: dict[str, object] = {}
    exec(snippet.winner_code(table, csv, result), scope)
    probability = np.asarray(scope["probability"])
    assert probability.shape == table.labels.shape
    assert scores.average_precision(table.labels, probability) > 0.25
    if contender != "weighted log loss":
        assert probability.mean() == pytest.approx(table.labels.mean(), rel=0.25)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_the_winners_code_gives_the_reported_probabilities(
    csv: Path, compared: Any, engine: str, contender: Contender, tmp_path: Path
) -> None:
    _, parts, _, results = compared
    for result in (r for r in results if (r.engine, r.contender) == (engine, contender.name)):
        frame, path = pd.read_csv(csv), tmp_path / "train.csv"
        frame.iloc[parts[result.split].train].to_csv(path, index=False)
        table = tables.prepare("train.csv", reading.read(path)[0], "fraud", positive="yes", drop=["day"])
        scope: dict[str, Any] = {}
        exec(snippet.winner_code(table, path, result), scope)
        rows = frame.iloc[result.test][scope["features"]].astype(scope["X"].dtypes.to_dict())
        np.testing.assert_allclose(scope["model"].predict_proba(rows)[:, 1], result.proba, atol=1e-6)
        if contender.custom:  # and the model can be kept
            scope["model"].save_model(str(tmp_path / "model.txt"))
            kept = boostfocal.load(str(tmp_path / "model.txt"))
            np.testing.assert_array_equal(kept.predict_proba(rows)[:, 1], scope["model"].predict_proba(rows)[:, 1])


# --- multiclass ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def classes_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(1)
    frame = make_frame(1200).drop(columns=["fraud", "day"])
    score = frame["a"] + rng.normal(scale=0.7, size=1200)
    frame["speed"] = np.select([score < 0.4, score < 1.3], ["slow", "middling"], "fast")
    path = tmp_path_factory.mktemp("table") / "classes.csv"
    frame.to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def compared_classes(classes_csv: Path) -> tuple[tables.Table, list[splits.Split], run.Options, list[run.Result]]:
    table = tables.prepare("classes.csv", reading.read(classes_csv)[0], "speed")
    parts = splits.make_splits(table, folds=2, repeats=1, gap=None, seed=0)
    options = run.Options(trials=1, rounds=40, select="average_precision", k=50, seed=0)
    return table, parts, options, run.compare(table, parts, ENGINES, options)


def test_figures_of_several_classes_are_those_of_scikit_learn(compared_classes) -> None:  # type: ignore[no-untyped-def]
    table, _, _, results = compared_classes
    assert len(results) == 2 * 2 * len(CONTENDERS)
    for result in results:
        labels, proba = table.labels[result.test], result.proba
        proba = proba / proba.sum(axis=1, keepdims=True)  # XGBoost's own are float32
        one_hot = np.arange(3) == labels[:, np.newaxis]
        np.testing.assert_allclose(proba.sum(axis=1), 1, atol=1e-5)
        assert result.metrics == pytest.approx({
            "average_precision": metrics.average_precision_score(one_hot, proba, average="macro"),
            "roc_auc": metrics.roc_auc_score(one_hot, proba, average="macro"),
            "log_loss": metrics.log_loss(labels, proba),
            "brier": ((proba - one_hot) ** 2).sum(axis=1).mean(),
            "calibration_error": np.mean([
                scores.expected_calibration_error(one_hot[:, k], proba[:, k]) for k in range(3)
            ]),
        }, rel=1e-4)  # fmt: skip
        assert result.metrics["average_precision"] > 0.55
        if result.contender != "weighted log loss":
            np.testing.assert_allclose(proba.mean(axis=0), one_hot.mean(axis=0), atol=0.06)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("contender", [c.name for c in CONTENDERS])
def test_the_winners_code_runs_for_several_classes(classes_csv, compared_classes, engine, contender) -> None:  # type: ignore[no-untyped-def]
    table, _, _, results = compared_classes
    for result in (r for r in results if (r.engine, r.contender) == (engine, contender)):
        scope: dict[str, object] = {}
        exec(snippet.winner_code(table, classes_csv, result), scope)
        probability = np.asarray(scope["probability"])
        np.testing.assert_array_equal(scope["y"], table.labels)
        assert probability.shape == (table.labels.size, 3)
        assert scores.average_precision(table.labels, probability) > 0.55


@pytest.mark.parametrize(("engine", "suffix"), [("xgboost", ".csv"), ("lightgbm", ".csv.parquet")])
def test_the_winners_code_runs_with_names_that_engines_refuse(tmp_path: Path, engine: Any, suffix: str) -> None:
    path = tmp_path / f"odd{suffix}"
    frame = make_frame(400).rename(columns={"a": 'a "1", [b] < {c}: d', "b": "x:1"}).drop(columns="day")
    frame.to_csv(path, index=False) if suffix == ".csv" else frame.to_parquet(path)
    table = tables.prepare(path.name, reading.read(path)[0], "fraud", positive="yes")
    parts = splits.make_splits(table, folds=2, repeats=1, gap=None, seed=0)
    results = run.compare(table, parts, (engine,), run.Options(1, 5, "log_loss", 10, 0))
    for result in results[:4]:
        scope: dict[str, object] = {}
        exec(snippet.winner_code(table, path, result), scope)
        assert np.shape(scope["probability"]) == (400,)


def test_command_compares_several_classes_and_writes_its_page(classes_csv: Path, tmp_path: Path) -> None:
    page, metrics = tmp_path / "page.html", tmp_path / "metrics.json"
    small = ["--folds", "2", "--repeats", "1", "--trials", "1", "--rounds", "20", "--engine", "lightgbm"]
    code, output = invoke(
        str(classes_csv),
        "--target",
        "speed",
        *small,
        "--select",
        "log_loss",
        "--report",
        str(page),
        "--json",
        str(metrics),
    )
    assert code == 0, output
    assert "3 classes of speed (slow" in output
    assert "means over the classes, each against the rest" in output
    assert "P@" not in output
    content = json.loads(metrics.read_text())
    assert sum(content["table"]["classes"].values()) == 1200
    assert "P@" not in page.read_text(encoding="utf-8")
    code, output = invoke(str(classes_csv), "--target", "speed", *small, "-k", "5")
    assert code == 2
    assert "-k must be left out unless one value is positive (--positive), got 5" in output
    code, output = invoke(str(classes_csv), "--target", "speed", "--positive", "fast", *small, "-k", "5")
    assert code == 0, output
    assert "speed = fast" in output
    assert "P@5" in output


# --- the command -----------------------------------------------------------------------------------


def invoke(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["compare", *arguments], env={"COLUMNS": "200"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_the_command_prints_tables_a_verdict_and_code_and_writes_json_and_a_page(csv: Path, tmp_path: Path) -> None:
    small = ["--folds", "2", "--repeats", "1", "--trials", "1", "--rounds", "30"]
    files = ["--json", str(tmp_path / "new" / "r.json"), "--report", str(tmp_path / "r.html")]
    code, output = invoke(str(csv), "--target", "fraud", "--positive", "yes", "--drop", "day", *small, *files)
    assert code == 0, output
    for expected in ("Means over 2 splits", "Paired differences", "xgboost: ", "lightgbm: ", "import pandas as pd"):
        assert expected in output
    content = json.loads((tmp_path / "new" / "r.json").read_text())
    assert content["table"]["rows"] == 1500
    assert len(content["results"]) == 2 * 2 * len(CONTENDERS)
    page = (tmp_path / "r.html").read_text()
    assert page.count("<svg") == 4
    for line in content["summary"]["verdict"]:
        assert line in page
    assert not re.search(r"""src=|<link|<script|url\((?!#)|href="(?!#)""", page)  # self-contained


def test_the_command_splits_forward_in_time(csv: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.json"
    code, output = invoke(
        str(csv), "--target", "fraud", "--time", "day", "--gap", "3", "--folds", "2", "--trials", "1", "--rounds", "20",
        "--engine", "lightgbm", "--json", str(out),
    )  # fmt: skip
    assert code == 0, output
    assert {result["engine"] for result in json.loads(out.read_text())["results"]} == {"lightgbm"}


def test_a_dry_run_says_what_becomes_of_columns_and_rows_and_trains_nothing(
    csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "compare", None)  # it would be an error to call it
    arguments = [str(csv), "--target", "fraud", "--positive", "yes", "--time", "day", "--drop", "b", "--dry-run"]
    code, output = invoke(*arguments, "--folds", "3")
    assert code == 0, output
    for name, becomes in {
        "a": "a number",
        "kind": "a category",
        "fraud": "--target",
        "day": "--time",
        "b": "--drop",
    }.items():
        assert re.search(rf"^ {name} +{becomes} *$", output, re.M), output
    assert len(re.findall(r"^ \d +(train|test) +\d+ +\d+ +\d+ +\d+ *$", output, re.M)) == 6
    code, output = invoke(*arguments, "--json", str(tmp_path / "r.json"))
    assert code == 2
    assert "--dry-run writes no file: leave out --json" in output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nope.csv", "--target", "x"], "no such file"),
        (["{csv}"], "--target must name the column to predict"),
        (["{csv}", "--target", "nope"], "--target must be a column"),
        (["{csv}", "--target", "a"], "two to 100 distinct values"),
        (["{csv}", "--target", "fraud", "--folds", "100"], "positive rows for 100 folds, got"),
        (["{csv}", "--target", "fraud", "-k", "5000"], "-k must be at most the rows of the smallest test part"),
        (["--target", "fraud"], "--target must be 'Class' for the example table"),
        (["{csv}", "--target", "fraud", "--json", "{csv}/r.json"], "must be a file that can be written"),
        (["{csv}", "--target", "fraud", "--report", "/"], "must be a file that can be written"),
    ],
)
def test_wrong_input_ends_with_status_2_and_says_what_is_accepted(
    csv: Path, arguments: list[str], message: str
) -> None:
    code, output = invoke(*[argument.format(csv=csv) for argument in arguments])
    assert code == 2
    assert message in output
    assert "Traceback" not in output


def test_ctrl_c_reports_the_splits_that_are_finished(csv: Path, tmp_path: Path) -> None:
    """With fits in several processes, where the machine has the CPUs."""
    out = tmp_path / "r.json"
    # a job started in the background of a script ignores SIGINT, and so would the process: take it up again
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from boostfocal.cli import app; app()"
    )
    command = [
        sys.executable, "-c", program, "compare", str(csv), "--target", "fraud", "--folds", "5", "--repeats", "50",
        "--trials", "1", "--rounds", "20", "--engine", "lightgbm", "--json", str(out),
    ]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        env=os.environ | {"LOKY_MAX_CPU_COUNT": "2"},
    )  # fmt: skip
    assert process.stdout is not None
    finished = iter(process.stdout.readline, "")
    assert any("split 2 of 250 finished" in line for line in finished)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "Interrupted" in output
    assert "Traceback" not in output
    assert 1 <= json.loads(out.read_text())["summary"]["n_splits"] < 250  # splits may finish out of order
