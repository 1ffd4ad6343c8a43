"""`boostfocal compare` with costs: savings by hand from the recorded probabilities, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_curve
from typer.testing import CliRunner

from boostfocal.cli import app
from boostfocal.compare import reading, run, snippet, splits, summary
from boostfocal.compare import table as tables
from boostfocal.compare.costs import Costs

SMALL = ["--folds", "2", "--repeats", "1", "--trials", "1", "--rounds", "10", "--engine", "lightgbm"]


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    random = np.random.default_rng(0)
    found = pd.DataFrame({"amount": random.gamma(2, 50, 1200).round(2), "hour": random.integers(0, 24, 1200)})
    found["fraud"] = (random.random(1200) < 0.03 + 0.4 * (found["amount"] > 200)).astype(int)
    found["text"] = "a"
    found["debt"] = -found["amount"]
    found["holes"] = found["amount"].where(found.index != 7)
    return found


@pytest.fixture(scope="module")
def csv(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("costs") / "rows.csv"
    frame.to_csv(path, index=False)
    return path


def spent(y: Any, alert: Any, amount: Any, costs: Costs) -> float:
    """By hand, one row after the other."""
    total = 0.0
    for label, alerted, missed in zip(y, alert, amount, strict=True):
        if alerted:
            total += costs.true_positive if label else costs.false_positive
        elif label:
            total += missed
    return total


@pytest.mark.parametrize(
    "costs", [Costs(8.0, 8.0, amount="amount"), Costs(5.0, 0.0, 60.0)], ids=["by amount", "the same for all"]
)
def test_savings_are_those_of_least_cost_decisions(csv: Path, costs: Costs) -> None:
    table = tables.prepare("rows", reading.read(csv)[0], "fraud", drop=["debt", "holes"], amount=costs.amount)
    parts = splits.make_splits(table, folds=2, repeats=1, gap=None, seed=0)
    options = run.Options(1, 10, "log_loss", 10, 0, fpr=0.02, costs=costs)
    results = run.compare(table, parts, ("lightgbm",), options)
    for result in results:
        y = table.labels[result.test]
        amount = np.full(y.size, 60.0) if table.amount is None else table.amount[result.test]
        passed = result.proba * amount
        alerted = result.proba * costs.true_positive + (1 - result.proba) * costs.false_positive
        trivial = min(spent(y, np.full(y.size, always), amount, costs) for always in (False, True))
        expected = 1 - spent(y, alerted <= passed, amount, costs) / trivial
        assert result.metrics["savings"] == pytest.approx(expected, rel=1e-9, abs=1e-12)
        false, found, _ = roc_curve(y, result.proba, drop_intermediate=False)
        assert result.metrics["recall_at_fpr"] == pytest.approx(found[false <= 0.02].max())
    found_all = summary.summarize(results, parts, options)
    assert [metric.key for metric in found_all.metrics][:3] == ["average_precision", "savings", "recall_at_fpr"]
    said = [line for line in found_all.verdict if "decisions of least expected cost" in line]
    assert len(said) == 1
    best = max(found_all.rows, key=lambda row: row.metrics["savings"])
    assert f"{best.contender} saves {best.metrics['savings']:.1%}" in said[0]
    assert found_all.difference("lightgbm", "focal loss", "log loss", "savings").half_width is not None
    for result in results:
        scope: dict[str, Any] = {}
        exec(snippet.winner_code(table, csv, result, costs), scope)
        amount = np.full(table.labels.size, 60.0) if table.amount is None else table.amount
        p = np.asarray(scope["probability"])
        alerted = p * costs.true_positive + (1 - p) * costs.false_positive
        np.testing.assert_array_equal(scope["alert"], alerted <= p * amount)


def invoke(*arguments: Any) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["compare", *map(str, arguments)], env={"COLUMNS": "200"})
    return result.exit_code, " ".join(result.output.split())


def test_the_command_shows_savings_and_records_the_costs(csv: Path, tmp_path: Path) -> None:
    files = ["--json", tmp_path / "r.json", "--report", tmp_path / "r.html"]
    costs = ["--cost-fp", 8, "--amount", "amount", "--fpr", 0.01]
    code, output = invoke(csv, "--target", "fraud", "--drop", "debt,holes", *SMALL, *costs, *files)
    assert code == 0, output
    for expected in ("saved↑", "R@0.01↑", "at decisions of least expected cost", "alert = decide(probability, costs)"):
        assert expected in output
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["options"]["costs"] == {
        "false_positive": 8.0, "true_positive": 0.0, "false_negative": None, "amount": "amount",
    }  # fmt: skip
    assert content["options"]["fpr"] == 0.01
    assert all("savings" in mean for mean in content["summary"]["means"])
    page = (tmp_path / "r.html").read_text()
    assert page.count("<svg") == 5
    assert "least expected cost save" in page


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cost-fn", "3"], "--cost-fp must be given with --cost-fn"),
        (["--amount", "amount"], "--cost-fp must be given with --amount"),
        (["--cost-tp", "3"], "--cost-fp must be given with --cost-tp"),
        (["--cost-fp", "3"], "--cost-fp needs --cost-fn or --amount, what a miss costs, got neither"),
        (["--cost-fp", "3", "--cost-fn", "3", "--amount", "amount"], "got both"),
        (["--cost-fp", "3", "--amount", "nope"], "--amount must be a column of rows.csv, got 'nope'"),
        (["--cost-fp", "3", "--amount", "fraud"], "--amount must not be the target, got 'fraud'"),
        (["--cost-fp", "3", "--amount", "text"], "--amount 'text' must be numbers that are not negative"),
        (["--cost-fp", "3", "--amount", "debt"], "in every row, got 1200 that are not, the first -"),
        (["--cost-fp", "3", "--amount", "holes"], "in every row, got 1 that are not, the first nan"),
        (["--cost-fp", "0", "--cost-fn", "3"], "must make it cost something to alert all rows"),
        (["--cost-fp", "1", "--cost-fn", "0"], "must make it cost something to alert no row"),
        (["--cost-fp", "-1", "--cost-fn", "0"], "--cost-fp must be a finite number, not negative, got -1"),
        (["--cost-fp", "1", "--cost-fn", "nan"], "--cost-fn must be a finite number, not negative, got nan"),
        (["--cost-fp", "1", "--cost-fn", "2", "--cost-tp", "inf"], "--cost-tp must be a finite number"),
        (["--fpr", "1"], "--fpr must be a number in [0, 1), got 1"),
    ],
)
def test_costs_that_do_not_fit_are_refused(csv: Path, arguments: list[str], message: str) -> None:
    code, output = invoke(csv, "--target", "fraud", *SMALL, *arguments)
    assert code == 2
    assert message in output
    assert "Traceback" not in output


@pytest.mark.parametrize("option", [["--fpr", "0.1"], ["--cost-fp", "1", "--cost-fn", "2"]])
def test_costs_of_a_target_of_several_values_are_refused(csv: Path, option: list[str]) -> None:
    code, output = invoke(csv, "--target", "hour", "--drop", "holes", *SMALL, *option)
    assert code == 2
    assert f"{option[0]} must be left out unless one value is positive (--positive)" in output
