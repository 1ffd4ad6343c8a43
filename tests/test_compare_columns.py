"""Whatever a table's columns hold, `compare` takes it as it is, and its winner's code trains what was compared."""

import json
from collections.abc import Callable
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis.strategies import sampled_from, sets
from typer.testing import CliRunner

from boostfocal.cli import app
from boostfocal.compare import reading, run, snippet, splits
from boostfocal.compare import table as tables
from boostfocal.compare.contenders import CONTENDERS
from boostfocal.compare.training import Data, Job, train

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:joblib.*", "ignore::DeprecationWarning")

N = 200
RANDOM = np.random.default_rng(4)
SCORE = RANDOM.normal(size=N)
LABEL = (SCORE + RANDOM.logistic(size=N) > 0).astype(int)
STEP = np.digitize(SCORE, [-1, 0, 1])  # 0 to 3


def among(*values: Any) -> list[Any]:
    return [values[i % len(values)] for i in STEP]


COLUMNS: dict[str, list[Any]] = {
    "floats": SCORE.tolist(),
    "whole": (100 * SCORE).round().astype(int).tolist(),
    "truths": (SCORE > 0.2).tolist(),
    "truths with gaps": among(True, None, False, True),
    "decimals": [None if i % 9 == 0 else Decimal(round(1000 * x)) / 1000 for i, x in enumerate(SCORE)],
    "large": [int(x * 2**60) for x in SCORE],
    "text": among("a", "b", None, "d"),
    "codes": among("0012", "0300", "12", "007"),
    "countries": among("NA", "DE", "", "FR"),
    "emoji, [odd] <name>": among("é", "'", '"', "\\"),
    "3": among(1.5, None, 2.5, 3.5),
    "constant": [7] * N,
    "nothing": [None] * N,
    "days": [date(2020, 1, 1 + i % 28) for i in range(N)],
    "moments": [pd.Timestamp("2020-01-01T10:00:00Z") + pd.Timedelta(i, "h") for i in range(N)],
    "identity": [f"row {i}" for i in range(N)],
}
PARQUET_ONLY: dict[str, list[Any]] = {
    "bytes": among(b"a", b"b", b"c", b"d"),
    "lists": among([1], [2, 3], [], [4]),
    "records": among({"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}),
    "hours": [time(i % 24) for i in range(N)],
    "durations": list(pd.to_timedelta(range(N), "h")),
    "ranks": pd.Categorical(among("low", "high", None, "top"), categories=["low", "high", "top", "never"]),  # type: ignore[dict-item]
    "years": pd.Categorical(among(2020, 2021, 2022, 2023)),  # type: ignore[dict-item]
    "nullable": pd.array(among(1, None, 3, 4), "Int64"),  # type: ignore[dict-item]
}
USABLE = {"floats", "whole", "truths", "decimals", "large", "text", "codes", "ranks", "years", "nullable"}


def written(frame: pd.DataFrame, folder: Path, suffix: str, sep: str = ",", decimal: str = ".") -> Path:
    path = folder / f"table{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path, index=False)
    else:
        frame.to_csv(path, index=False, sep=sep, decimal=decimal)
    return path


@pytest.mark.parametrize("engine", ["xgboost", "lightgbm"])
@pytest.mark.parametrize(
    ("suffix", "sep", "decimal"),
    [(".csv", ",", "."), (".csv.gz", ",", "."), (".csv", ";", ","), (".csv.gz", "\t", "."), (".parquet", "", "")],
)
def test_winners_code_runs_and_trains_what_was_compared(engine: Any, suffix: str, sep: str, decimal: str) -> None:
    columns = COLUMNS | (PARQUET_ONLY if suffix == ".parquet" else {})

    @settings(max_examples=8)
    @given(
        names=sets(sampled_from(sorted(columns)), min_size=1).filter(lambda found: bool(found & USABLE)),
        kept=sets(sampled_from(["codes", "countries", "whole"])),
        contender=sampled_from(CONTENDERS),
        target=sampled_from(["whole", "text", "some missing", "classes"]),
    )
    def check(names: set[str], kept: set[str], contender: Any, target: str) -> None:
        labels = {
            "whole": LABEL.tolist(),
            "text": ["no" if y == 0 else "None" for y in LABEL] if suffix == ".parquet" else among("x", "y", "x", "y"),
            "some missing": [None if i % 10 == 0 else int(y) for i, y in enumerate(LABEL)],
            "classes": among("u", "v", "w", "u"),
        }[target]
        frame = pd.DataFrame({name: columns[name] for name in sorted(names)} | {"y": labels})
        with TemporaryDirectory() as folder:
            path = written(frame, Path(folder), suffix, sep, decimal)
            declared = sorted(kept & names)
            dialect = reading.dialect_of(path)
            read = reading.read(path, declared, dialect)[0]
            table = tables.prepare("t", read, "y", categorical=declared, dialect=dialect)
            parts = splits.make_splits(table, folds=2, repeats=1, gap=None, seed=0)[:1]
            (result,) = run.compare(
                table, parts, (engine,), run.Options(1, 5, "log_loss", 5, 0), contenders=[contender]
            )
            scope: dict[str, Any] = {}
            exec(snippet.winner_code(table, path, result), scope)
        np.testing.assert_array_equal(scope["y"], table.labels)
        data = Data(table.matrix(), table.labels, len(table.values), table.categorical)
        fitting = contender.for_classes(data.n_classes)
        job = Job(engine, fitting, result.parameters, result.hyperparameters, result.rounds, 1, 0)
        expected = train(job, data, np.arange(table.labels.size)).predict(data.matrix)
        np.testing.assert_allclose(scope["probability"], expected, atol=1e-6)

    check()


def unprepared(suffix: str) -> pd.DataFrame:
    """As it comes out of a database: with what nobody can learn from."""
    columns = COLUMNS | (PARQUET_ONLY if suffix == ".parquet" else {})
    frame = pd.concat([pd.DataFrame(columns)] * 2, ignore_index=True)
    frame["booked"] = pd.date_range("2024-01-01", periods=len(frame), freq="h").strftime("%Y%m%d").astype(int)
    frame["fraud"] = [None if i % 50 == 0 else int(y) for i, y in enumerate(np.tile(LABEL, 2))]
    return frame


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_table_that_nobody_prepared_is_compared_at_the_first_try(suffix: str, tmp_path: Path) -> None:
    path = written(unprepared(suffix), tmp_path, suffix)
    small = ["--folds", "2", "--trials", "1", "--rounds", "5", "--repeats", "1"]
    files = ["--json", str(tmp_path / "r.json"), "--report", str(tmp_path / "r.html")]
    options = ["--drop", "identity,moments", "--drop", "booked", "--categorical", "codes"]
    command: Callable[..., Any] = CliRunner().invoke
    found = command(app, ["compare", str(path), "--target", "fraud", *small, *files, *options], env={"COLUMNS": "200"})
    assert found.exit_code == 0, found.output
    content = json.loads((tmp_path / "r.json").read_text())
    becomes = content["table"]["columns"]
    assert becomes["codes"] == "category"
    assert becomes["decimals"] == "number"
    assert becomes["days"].startswith("dates")
    assert becomes["constant"] == "constant"
    assert set(becomes) == set(unprepared(suffix)) - {"fraud", "identity", "moments", "booked"}
    notes = " ".join(content["table"]["notes"])
    for word in ("without a label", "left out of the features", "exact copies"):
        assert word in notes
        assert word in found.output.replace("\n", " ")
    assert content["design"]["drop"] == ["identity", "moments", "booked"]
    assert content["design"]["categorical"] == ["codes"]
    assert content["design"]["kind"] == "at random, 2 folds"
    assert [split["test"]["rows"] for split in content["splits"]] == [196, 196]
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "left out: constant" in page
    assert "at random, 2 folds" in page


def test_record_of_a_forward_split_names_time_gap_and_dates(tmp_path: Path) -> None:
    frame = unprepared(".csv").assign(floats=np.random.default_rng(0).normal(size=2 * N))
    path = written(frame, tmp_path, ".csv")
    arguments = ["--time", "booked", "--gap", "1D", "--folds", "2", "--trials", "1", "--rounds", "5"]
    files = ["--json", str(tmp_path / "r.json"), "--report", str(tmp_path / "r.html")]
    found = CliRunner().invoke(
        app, ["compare", str(path), "--target", "fraud", *arguments, *files], env={"COLUMNS": "200"}
    )
    assert found.exit_code == 0, found.output
    assert "forward in booked, 2 windows, gap 1D" in found.output
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["design"]["gap"] == "1D"
    first = content["splits"][0]
    assert first["train"]["from"] == "2024-01-01"
    assert pd.Timestamp(first["test"]["from"]) - pd.Timestamp(first["train"]["to"]) >= pd.Timedelta("1D")
    assert "forward in booked, 2 windows, gap 1D" in (tmp_path / "r.html").read_text(encoding="utf-8")
    refused = CliRunner().invoke(
        app, ["compare", str(path), "--target", "fraud", *arguments[:2], "--gap", "1"], env={"COLUMNS": "200"}
    )
    assert refused.exit_code == 2
    assert "with its unit" in refused.output
