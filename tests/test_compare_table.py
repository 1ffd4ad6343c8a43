from datetime import date, time
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from boostfocal.compare import reading
from boostfocal.compare import table as tables
from boostfocal.compare.reading import DataError


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
    refused(frame().assign(fraud=None), "must have values, got 60 missing")
    refused(frame(), "--positive must be a value of 'fraud', got 'yes'; there are 'False', 'True'", positive="yes")


def test_rows_without_a_label_are_left_out_and_counted() -> None:
    table = frame().assign(fraud=[None] + [0, 1] * 29 + [None])
    prepared = tables.prepare("t", table, "fraud", time="day")
    assert prepared.notes[0] == "without a label, and so left out: 2 of 60 rows"
    np.testing.assert_array_equal(prepared.labels, [0, 1] * 29)
    np.testing.assert_array_equal(prepared.time, np.arange(1, 59))
    assert prepared.features.shape[0] == 58


KINDS = {
    "whole numbers": (range(60), "number"),
    "floats": (np.linspace(0, 1, 60), "number"),
    "truths": ([True, False] * 30, "number"),
    "truths with gaps": ([True, False, None] * 20, "number"),
    "decimals": ([Decimal(i) / 8 for i in range(59)] + [None], "number"),
    "nullable": (pd.array([1, 2, None] * 20, "Int64"), "number"),
    "text": (["a", "b", None] * 20, "category"),
    "arrow text": (pd.array(["a", "b", None] * 20, "string[pyarrow]"), "category"),
    "categories": (pd.Categorical(["a", "b", None] * 20, categories=["a", "b", "z"]), "category"),
    "categories of numbers": (pd.Categorical([3, 1, 2] * 20), "category"),
    "text and numbers": (["a", 1, None] * 20, "category"),
    "constant": ([7] * 60, "constant"),
    "one text": (["x"] * 60, "constant"),
    "missing": ([None] * 60, "all missing"),
    "timestamps": (pd.date_range("2020", periods=60), "dates: derive numbers from them"),
    "in a zone": (pd.date_range("2020", periods=60, tz="Europe/Madrid"), "dates: derive numbers from them"),
    "days": ([date(2020, 1, 1 + i % 28) for i in range(60)], "dates: derive numbers from them"),
    "dates as text": ([f"2020-01-{1 + i % 28:02}" for i in range(60)], "dates: derive numbers from them"),
    "times as text": ([f"2020-01-01T{i % 24:02}:00:00Z" for i in range(60)], "dates: derive numbers from them"),
    "durations": (pd.to_timedelta(range(60), "h"), "durations: make numbers of them"),
    "hours": ([time(i % 24) for i in range(60)], "times of day: make numbers of them"),
    "bytes": ([b"a", b"b"] * 30, "bytes"),
    "lists": ([[1, 2], [3]] * 30, "neither numbers nor text"),
    "records": ([{"a": 1}, {"a": 2}] * 30, "neither numbers nor text"),
    "complex": (np.arange(60) * 1j, "neither numbers nor text"),
}


def test_each_kind_of_column_has_its_rule_and_what_is_left_out_is_noted() -> None:
    table = frame().assign(**{name: values for name, (values, _) in KINDS.items()})
    prepared = tables.prepare("t", table, "fraud")
    for name, (_, becomes) in KINDS.items():
        assert prepared.becomes[name] == becomes, name
        assert (name in prepared.features) == (becomes in ("number", "category"))
        if name not in prepared.features:
            assert any(f"'{name}'" in note and becomes in note for note in prepared.notes), name
    matrix = prepared.matrix()
    assert matrix.shape == (60, len(prepared.features.columns))
    decimals = matrix[:, list(prepared.features).index("decimals")]
    np.testing.assert_array_equal(decimals[:59], np.arange(59, dtype=np.float32) / 8)
    assert np.isnan(decimals[59])
    codes = matrix[:, list(prepared.features).index("categories of numbers")]
    np.testing.assert_array_equal(codes, [2, 0, 1] * 20)


def test_table_without_a_column_that_can_be_used_is_refused() -> None:
    refused(frame()[["fraud", "day"]], "at least one feature", time="day")
    refused(frame()[["fraud"]].assign(a=1, b=b"x"), r"at least one feature .*'a' \(constant\); 'b' \(bytes\)")


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e39, 1e300, -3.5e38, Decimal("1e39")])
def test_numbers_that_float32_cannot_hold_are_refused(value: object) -> None:
    refused(
        frame().assign(x=[value] + [type(value)(0)] * 59), "feature 'x' must be finite float32 numbers or missing, got"
    )


def test_all_that_is_wrong_is_told_at_once() -> None:
    table = frame().assign(
        x=[np.inf, 1] * 30, z=[1e39, 1] * 30, card=[None] * 30 + [1] * 30, when=["soon"] * 60, fraud=1
    )
    with pytest.raises(DataError) as raised:
        tables.prepare("t", table, "fraud", time="when", group="card")
    for part in ("'x'", "'z'", "--group 'card'", "--time 'when'", "--target 'fraud'"):
        assert part in str(raised.value)
    with pytest.raises(DataError) as raised:
        tables.prepare("t", table, "fraud", time="nope", group="neither", drop=["nor", "fraud"])
    for part in ("'nope'", "'neither'", "'nor'", "--drop must not be the target"):
        assert part in str(raised.value)


def test_copies_of_rows_that_may_straddle_a_split_are_counted() -> None:
    rng = np.random.default_rng(0)
    once = pd.DataFrame({"x": rng.normal(size=300), "y": rng.integers(0, 2, 300), "card": range(300)})
    four = pd.concat([once] * 4, ignore_index=True)

    def notes(table: pd.DataFrame, **options: object) -> list[str]:
        found = tables.prepare("t", table, "y", **options).notes  # type: ignore[arg-type]
        return [note for note in found if "exact copies" in note]

    (note,) = notes(four, drop=["card"])
    assert note.startswith("1,200 of 1,200 rows")
    assert "--group" in note
    assert not notes(once, drop=["card"])
    assert not notes(four, group="card")
    assert notes(four.assign(card=range(1200)), group="card")
    assert not notes(four.assign(y=np.arange(1200) % 7 == 0, x=rng.normal(size=1200)), drop=["card"])


def test_text_of_a_csv_that_was_read_as_something_else_is_noted_and_can_be_kept(tmp_path: Path) -> None:
    lines = ["code,country,n,label"] + [f"{i % 40:04},{['NA', 'DE', ''][i % 3]},{i},{i % 2}" for i in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    _, notes = reading.read(tmp_path / "t.csv")
    assert len(notes) == 2
    assert "'code'" in notes[0]
    assert "'country'" in notes[1]
    assert "'NA'" in notes[1]
    assert all("--categorical" in note for note in notes)
    kept, notes = reading.read(tmp_path / "t.csv", ["code", "country"])
    assert notes == []
    assert kept["code"].tolist()[:3] == ["0000", "0001", "0002"]
    assert kept["country"].iloc[:2].tolist() == ["NA", "DE"]
    assert kept["country"].isna().sum() == 20
    prepared = tables.prepare("t", kept, "label", categorical=["code", "country"])
    assert prepared.becomes["code"] == "category"
    (tmp_path / "target.csv").write_text("x,y\n" + "\n".join(f"{i},{['None', 'some'][i % 2]}" for i in range(60)))
    assert "'None'" in reading.read(tmp_path / "target.csv")[1][0]
    kept, _ = reading.read(tmp_path / "target.csv", ["y"])
    assert tables.prepare("t", kept, "y").values == ("None", "some")


def test_numbers_of_a_parquet_file_may_be_declared_categories() -> None:
    prepared = tables.prepare("t", frame().assign(shop=np.arange(60) % 5), "fraud", categorical=["shop"])
    assert prepared.becomes["shop"] == "category"
    assert prepared.features["shop"].cat.categories.tolist() == ["0", "1", "2", "3", "4"]


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


def test_files_are_read_and_bad_ones_refused(tmp_path: Path) -> None:
    table = frame()
    table.to_csv(tmp_path / "t.csv", index=False)
    table.to_csv(tmp_path / "t.csv.gz", index=False)
    table.to_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.csv.gz", "t.parquet"):
        read, notes = reading.read(tmp_path / name)
        assert notes == []
        np.testing.assert_allclose(read["amount"], table["amount"])
    (tmp_path / "twice.csv").write_text("a,b,a\n1,2,3\n")
    (tmp_path / "broken.parquet").write_text("nothing")
    (tmp_path / "empty.csv").write_text("")
    whole = (tmp_path / "t.csv.gz").read_bytes()
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "damaged.csv.gz").write_bytes(whole[:40] + b"damage" + whole[46:])
    (tmp_path / "plain.csv.gz").write_text("a,b")
    for name, match in {
        "cut.csv.gz": "cannot be read",
        "damaged.csv.gz": "cannot be read",
        "plain.csv.gz": "cannot be read",
        "x" * 300 + ".csv": "no such file",
        "none.csv": "no such file",
        "twice.csv": "column names must differ, got twice: 'a'",
        "broken.parquet": "cannot be read",
        "empty.csv": "cannot be read",
        "t.xlsx": "no such file",
    }.items():
        with pytest.raises(DataError, match=match):
            reading.read(tmp_path / name)
    (tmp_path / "t.xlsx").write_text("")
    with pytest.raises(DataError, match=r"must end in \.csv, \.csv\.gz or \.parquet"):
        reading.read(tmp_path / "t.xlsx")


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_the_first_lines_tell_the_separator_and_the_decimal_sign(tmp_path: Path, sep: str, name: str) -> None:
    table = pd.DataFrame({"a;b,c\t|": [1.5, 2.25, -3e-5], "text": ["x", "y, z", "1,2,3"], "n": [1, 2, 3]})
    for decimal in (".",) if sep == "," else (".", ","):
        table.to_csv(tmp_path / name, index=False, sep=sep, decimal=decimal)
        assert reading.dialect_of(tmp_path / name) == reading.Dialect(sep, decimal)
        read, notes = reading.read(tmp_path / name)
        pd.testing.assert_frame_equal(read, table, check_dtype=False)
        assert [note for note in notes if "--sep" in note] == notes
        assert len(notes) == (sep != ",")
        assert all(repr(sep) in note for note in notes)
        assert all(("decimals" in note) == (decimal == ",") for note in notes)


def test_another_separator_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a~b\n1~2\n3~4\n")
    dialect = reading.dialect_of(tmp_path / "t.csv", "~")
    assert reading.read(tmp_path / "t.csv", (), dialect)[0]["b"].tolist() == [2, 4]
    (tmp_path / "t.tsv.csv").write_text('a, b;\t"c\n d"\n1,5\t2\nx;y;z\t"two\tlines\n"\n')
    assert (
        reading.dialect_of(tmp_path / "t.tsv.csv").sep == reading.dialect_of(tmp_path / "t.tsv.csv", "tab").sep == "\t"
    )
    (tmp_path / "one.csv").write_text("a\n1\n2\n")
    assert reading.dialect_of(tmp_path / "one.csv") == reading.COMMON
    with pytest.raises(DataError, match="--sep must be one character, got '~~'"):
        reading.dialect_of(tmp_path / "t.csv", "~~")
    frame().to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="--sep must be left out unless TABLE is a CSV, got ';'"):
        reading.dialect_of(tmp_path / "t.parquet", ";")


def test_whole_numbers_that_differ_in_every_row_are_noted() -> None:
    table = frame().loc[np.repeat(np.arange(60), 5)].reset_index(drop=True)
    table = table.assign(payment=np.arange(300) * 7 + 5e6, cents=np.arange(300) / 7, shop=np.arange(300) % 299)
    notes = tables.prepare("t", table, "fraud").notes
    (note,) = [note for note in notes if "differ in every row" in note]
    assert "'payment'" in note
    assert "'cents'" not in note
    assert "'shop'" not in note
    assert "--drop" in note
