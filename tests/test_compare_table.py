import numpy as np
import pandas as pd
import pytest

from boostfocal.compare import table as tables
from boostfocal.compare.table import DataError


def frame(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "amount": rng.normal(size=n),
            "kind": rng.choice(["a", "b", None], n),
            "day": np.arange(n),
            "fraud": np.arange(n) % 4 == 0,
        }
    )


def refused(table: pd.DataFrame, match: str, **options: object) -> None:
    with pytest.raises(DataError, match=match):
        tables.prepare("t", table, options.pop("target", "fraud"), **options)  # type: ignore[arg-type]


def test_categories_and_missing_values_reach_the_matrix_as_codes_and_nan() -> None:
    table = frame()
    matrix = tables.prepare("t", table, "fraud").matrix()
    codes = table["kind"].map({"a": 0.0, "b": 1.0}).to_numpy(dtype=float)
    np.testing.assert_array_equal(matrix[:, 1], codes.astype(np.float32))
    np.testing.assert_array_equal(matrix[:, 0], table["amount"].to_numpy(np.float32))


def test_the_users_frame_is_not_modified() -> None:
    table = frame()
    before = table.copy(deep=True)
    tables.prepare("t", table, "fraud", time="day", drop=["amount"])
    pd.testing.assert_frame_equal(table, before)


def test_time_group_and_dropped_columns_are_no_features() -> None:
    table = frame().assign(card=1, other=2.0)
    prepared = tables.prepare("t", table, "fraud", time="day", group="card", drop=["other"])
    assert list(prepared.features) == ["amount", "kind"]


@pytest.mark.parametrize(
    ("labels", "positive", "chosen"),
    [
        ([0, 1], None, "1"),
        ([True, False], None, "True"),
        (["good", "bad"], None, "bad"),
        (["good", "bad"], "good", "good"),
    ],
)
def test_one_or_true_or_else_the_rarer_value_is_positive(
    labels: list[object], positive: str | None, chosen: str
) -> None:
    values = [labels[0]] * 50 + [labels[1]] * 10
    prepared = tables.prepare("t", frame().assign(fraud=values), "fraud", positive=positive)
    assert prepared.positive == chosen
    np.testing.assert_array_equal(prepared.labels, [str(value) == chosen for value in values])


def test_a_column_that_is_not_there_is_named_with_its_option() -> None:
    refused(frame(), "--target must be a column of t, got 'nope'; there are 'amount'", target="nope")
    refused(frame(), "--time must be a column of t, got 'nope'", time="nope")
    refused(frame(), "--drop must be a column of t, got 'nope'", drop=["nope"])


def test_a_target_of_several_values_has_classes_the_most_frequent_first() -> None:
    values = np.repeat(["a", "b", "c"], [10, 30, 20])
    prepared = tables.prepare("t", frame().assign(fraud=values), "fraud")
    assert prepared.values == ("b", "c", "a")
    assert not prepared.binary
    np.testing.assert_array_equal(np.array(prepared.values)[prepared.labels], values)
    assert prepared.outcome == "3 classes of fraud (b 30, c 20, a 10)"


@pytest.mark.parametrize("values", [np.float32([0.1, 1 / 3, 1e20]), ["a'b", 'c "d"', "é"], [3, 7, -1], [0.5, 1.0, 2.0]])
def test_the_winners_code_names_classes_of_any_type(values: list[object]) -> None:
    column = pd.Series(values, dtype=getattr(values, "dtype", None)).repeat(20).reset_index(drop=True)
    prepared = tables.prepare("t", frame().assign(fraud=column), "fraud")
    np.testing.assert_array_equal(column.astype(str).map(list(prepared.values).index), prepared.labels)
    chosen = tables.prepare("t", frame().assign(fraud=column), "fraud", positive=prepared.values[2])
    np.testing.assert_array_equal(chosen.labels, prepared.labels == 2)


def test_unused_categories_are_no_classes() -> None:
    column = pd.Series(pd.Categorical(["no", "yes"] * 30, categories=["no", "yes", "perhaps"]))
    assert tables.prepare("t", frame().assign(fraud=column), "fraud").binary


def test_one_of_several_values_may_be_positive_against_the_rest() -> None:
    values = np.repeat(["a", "b", "c"], [10, 30, 20])
    prepared = tables.prepare("t", frame().assign(fraud=values), "fraud", positive="c")
    assert prepared.binary
    assert prepared.positive == "c"
    np.testing.assert_array_equal(prepared.labels, values == "c")
    assert prepared.outcome == "20 positive (33.33%: fraud = c)"


def test_a_code_of_several_classes_is_a_leak_and_a_feature_of_one_class_is_not() -> None:
    classes = np.arange(60) % 3
    table = frame().assign(fraud=classes, code=[[2, 0, 1][k] for k in classes], first=classes == 0)
    (note,) = tables.prepare("t", table, "fraud").notes
    assert "'code'" in note
    assert "'first'" not in note


def test_targets_of_one_or_too_many_values_are_refused() -> None:
    refused(frame().assign(fraud=1), "two to 100 distinct values, got one class only: '1'")
    many = pd.concat([frame()] * 4, ignore_index=True).assign(fraud=np.arange(240))
    refused(many, "two to 100 distinct values, got 240 distinct values: '0', '1', '10'")
    refused(frame().assign(fraud=1), "got one class only: '1'")
    refused(frame().assign(fraud=[None] + [0, 1] * 29 + [0]), "must not be missing in any row, got 1 missing")
    refused(frame(), "--positive must be a value of 'fraud', got 'yes'; there are 'False', 'True'", positive="yes")


def test_features_that_no_tree_can_use_are_refused_by_name() -> None:
    refused(frame().assign(x=3, y="a"), "'x', 'y' are constant; leave out with --drop")
    refused(frame().assign(x=np.nan), "'x' are all missing")
    refused(frame().assign(x=[np.inf] + [0.0] * 59), "feature 'x' must be finite or missing, got infinity")
    refused(
        frame().assign(x=pd.Timestamp("2020")).assign(x=pd.date_range("2020", periods=60)),
        "feature 'x' must be numbers",
    )
    refused(frame()[["fraud", "day"]], "at least one feature", time="day")


def test_a_constant_beside_missing_values_is_a_feature() -> None:
    table = frame().assign(x=np.where(np.arange(60) % 3 == 0, np.nan, 1.0))
    assert "x" in tables.prepare("t", table, "fraud").features


def test_the_target_under_another_name_is_warned_of() -> None:
    table = frame()
    leak = {
        "as number": table["fraud"] * 7.0 + 1,
        "as text": table["fraud"].map({True: "charged back", False: "fine"}),
        "as presence": np.where(table["fraud"], 5.0, np.nan),
    }
    for name, column in leak.items():
        notes = tables.prepare("t", table.assign(**{name: column}), "fraud").notes
        assert any(name in note and "--drop" in note for note in notes), name


def test_an_identifier_or_an_honest_feature_is_not_called_a_leak() -> None:
    table = frame().assign(id=[f"row {i}" for i in range(60)])
    assert not [note for note in tables.prepare("t", table, "fraud").notes if "--drop" in note]


def test_text_that_differs_from_row_to_row_is_noted() -> None:
    table = frame().loc[np.repeat(np.arange(60), 5)].reset_index(drop=True)
    few, many = [[f"card {i // k}" for i in range(300)] for k in (3, 1)]  # of the first, 100 differ
    notes = tables.prepare("t", table.assign(card=few, payment=many), "fraud").notes
    (note,) = [note for note in notes if "differs from row to row" in note]
    assert "'payment'" in note
    assert "'card'" not in note
    assert "--drop" in note


def test_files_are_read_and_bad_ones_refused(tmp_path) -> None:  # type: ignore[no-untyped-def]
    table = frame()
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_csv(tmp_path / "t.csv.gz", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.csv.gz", "t.parquet"):
        read = tables.read(tmp_path / name)
        np.testing.assert_allclose(read["amount"], table["amount"])
    (tmp_path / "twice.csv").write_text("a,b,a\n1,2,3\n")
    (tmp_path / "broken.parquet").write_text("nothing")
    (tmp_path / "empty.csv").write_text("")
    for name, match in {
        "none.csv": "no such file",
        "twice.csv": "column names must differ, got twice: 'a'",
        "broken.parquet": "cannot be read",
        "empty.csv": "cannot be read",
        "t.xlsx": "no such file",
    }.items():
        with pytest.raises(DataError, match=match):
            tables.read(tmp_path / name)
    (tmp_path / "t.xlsx").write_text("")
    with pytest.raises(DataError, match=r"must end in \.csv, \.csv\.gz or \.parquet"):
        tables.read(tmp_path / "t.xlsx")
