import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from boostfocal.compare.reading import DataError
from boostfocal.compare.splits import LARGE, MIN_POSITIVES, Design, Split, default_repeats, describe, make_splits
from boostfocal.compare.table import Table, prepare


def table(n: int = 2000, *, rate: float = 0.1, time: str | None = None, group: str | None = None) -> Table:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "fraud": rng.random(n) < rate,
            "day": rng.integers(0, 200, n),
            "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 200 * 24, n), "h"),
            "card": rng.integers(0, 150, n),
        }
    )
    used = {time, group}
    return prepare(
        "t", frame, "fraud", time=time, group=group, drop=[c for c in ("day", "date", "card") if c not in used]
    )


def levels(split: Split) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(split.train, split.test), (split.fit, split.validation)]


def test_each_row_is_tested_once_per_repeat_and_the_classes_keep_their_shares() -> None:
    t = table()
    splits = make_splits(t, folds=5, repeats=2, gap=None, seed=0)
    for repeat in (splits[:5], splits[5:]):
        np.testing.assert_array_equal(np.sort(np.concatenate([s.test for s in repeat])), np.arange(2000))
    assert not np.array_equal(np.sort(splits[0].test), np.sort(splits[5].test))
    for split in splits:
        for part in (split.train, split.test, split.fit, split.validation):
            assert abs(t.labels[part].mean() - t.labels.mean()) < 0.01


@pytest.mark.parametrize("time", [None, "day", "date"])
@pytest.mark.parametrize("group", [None, "card"])
def test_training_and_test_rows_never_meet_at_either_level(time: str | None, group: str | None) -> None:
    for split in make_splits(table(8000, rate=0.3, time=time, group=group), folds=4, repeats=1, gap=None, seed=0):
        for train, test in levels(split):
            assert np.intersect1d(train, test).size == 0
        assert np.isin(split.fit, split.train).all()
        assert np.isin(split.validation, split.train).all()


@pytest.mark.parametrize("time", [None, "day"])
def test_no_entity_straddles_a_split(time: str | None) -> None:
    t = table(8000, rate=0.3, time=time, group="card")
    assert t.group is not None
    for split in make_splits(t, folds=4, repeats=1, gap=None, seed=0):
        for train, test in levels(split):
            assert np.intersect1d(t.group[train], t.group[test]).size == 0


@pytest.mark.parametrize("group", [None, "card"])
@pytest.mark.parametrize(
    ("time", "gap", "delay"), [("day", "7", 7), ("date", "7D", np.timedelta64(7, "D")), ("day", None, 0)]
)
def test_labels_are_known_before_the_window_that_is_tested(
    time: str, gap: str | None, delay: object, group: str | None
) -> None:
    t = table(8000, rate=0.3, time=time, group=group)
    assert t.time is not None
    for split in make_splits(t, folds=4, repeats=1, gap=gap, seed=0):
        for train, test in levels(split):
            assert t.time[train].max() < t.time[test].min()
            # the window starts at or before its first row
            assert t.time[train].max() + delay <= t.time[test].min()


def test_windows_follow_each_other_and_only_the_first_block_is_never_tested() -> None:
    t = table(time="day")
    assert t.time is not None
    splits = make_splits(t, folds=4, repeats=1, gap=None, seed=0)
    tested = [t.time[s.test] for s in splits]
    assert all(a.max() < b.min() for a, b in pairwise(tested))
    untested = np.setdiff1d(np.arange(2000), np.concatenate([s.test for s in splits]))
    assert t.time[untested].max() < tested[0].min()
    assert 0.15 < untested.size / 2000 < 0.25


def test_a_gap_leaves_out_rows_whose_label_is_not_yet_known() -> None:
    t = table(time="day")
    assert t.time is not None
    split = make_splits(t, folds=4, repeats=1, gap="7", seed=0)[-1]
    start = t.time[split.test].min()
    dropped = (t.time < start) & (t.time > start - 7)
    assert dropped.any()
    assert not np.isin(np.flatnonzero(dropped), split.train).any()


def test_the_same_seed_gives_the_same_splits() -> None:
    first, again = (make_splits(table(group="card"), folds=3, repeats=2, gap=None, seed=5) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.test, b.test)
        np.testing.assert_array_equal(a.validation, b.validation)


def test_too_few_positives_are_counted_and_the_need_is_stated() -> None:
    t = table(300, rate=0.05)
    positives = int(t.labels.sum())
    with pytest.raises(DataError, match=f"at least 25 positive rows for 5 folds, got {positives}"):
        make_splits(t, folds=5, repeats=1, gap=None, seed=0)
    assert MIN_POSITIVES == 5


def test_options_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(DataError, match="--repeats must be 1 with --time, got 2"):
        make_splits(table(time="day"), folds=4, repeats=2, gap=None, seed=0)
    with pytest.raises(DataError, match="--gap needs --time, got '7'"):
        make_splits(table(), folds=4, repeats=1, gap="7", seed=0)


@pytest.mark.parametrize("gap", ["7D", "-1", "inf", "nan", "soon", ""])
def test_gaps_in_numbers_are_finite_numbers(gap: str) -> None:
    with pytest.raises(DataError, match=r"--gap must be a number, in the unit of --time.* got"):
        make_splits(table(time="day"), folds=4, repeats=1, gap=gap, seed=0)


@pytest.mark.parametrize("gap", ["7", "7.5", " 7 ", "1e3", "+7", "-7", "-7D", "inf", "NaT", "soon", ""])
def test_gaps_in_dates_are_durations_with_a_unit(gap: str) -> None:
    """Without one pandas takes nanoseconds."""
    with pytest.raises(DataError, match=r'--gap must be a duration with its unit, such as "7D".* got'):
        make_splits(table(time="date"), folds=4, repeats=1, gap=gap, seed=0)


@pytest.mark.parametrize("folds", [4, 8])
def test_windows_without_positives_say_which_folds_would_do(folds: int) -> None:
    t = table(3000, time="day")
    with pytest.raises(DataError, match=r"split 1 has \d+ .*rows to") as raised:
        make_splits(t, folds=folds, repeats=1, gap="35", seed=0)
    assert "the gap applies inside training, too" in str(raised.value)
    found = re.search(r"--folds (\d+) would do", str(raised.value))
    works = int(found[1]) if found else 1
    if found:
        make_splits(t, folds=works, repeats=1, gap="35", seed=0)
    for between in range(works + 1, folds):
        with pytest.raises(DataError):
            make_splits(t, folds=between, repeats=1, gap="35", seed=0)


def test_gap_longer_than_the_table_is_refused() -> None:
    with pytest.raises(DataError, match=r"split 1 has 0 rows to train on.*no number of --folds would do"):
        make_splits(table(time="day"), folds=4, repeats=1, gap="1000", seed=0)


def test_whole_numbers_of_eight_digits_are_dates() -> None:
    days = pd.date_range("2024-01-28", periods=400, freq="h").repeat(5)
    frame = pd.DataFrame({"x": np.arange(2000) % 17, "y": np.arange(2000) % 3 == 0, "date": days})
    numbers = frame.assign(date=days.strftime("%Y%m%d").astype(int))
    first, second = (prepare("t", one, "y", time="date") for one in (frame.assign(date=days.floor("D")), numbers))
    np.testing.assert_array_equal(first.time, second.time)
    assert any("taken for dates" in note for note in second.notes)
    for a, b in zip(*(make_splits(t, folds=2, repeats=1, gap="2D", seed=0) for t in (first, second)), strict=True):
        np.testing.assert_array_equal(a.train, b.train)
    with pytest.raises(DataError, match="with its unit"):
        make_splits(second, folds=2, repeats=1, gap="2", seed=0)
    odd = prepare("t", numbers.assign(date=numbers["date"].replace(20240131, 20240231)), "y", time="date")
    assert odd.time is not None
    assert odd.time.dtype.kind == "i"


def test_record_tells_a_random_split_from_one_with_delay() -> None:
    assert Design(5, 2, 0).kind == "at random, 5 folds, 2 repeats"
    assert Design(5, 1, 0, "day", "7D", "card").kind == "forward in day, 5 windows, gap 7D, no card is on both sides"
    t = table(time="date", group="card", n=8000, rate=0.3)
    parts = make_splits(t, folds=3, repeats=1, gap="3D", seed=0)
    for split, told in zip(parts, describe(t, parts), strict=True):
        assert t.time is not None
        for name, rows in (("train", split.train), ("test", split.test)):
            assert told[name] == {
                "rows": rows.size,
                "positive": int(t.labels[rows].sum()),
                "from": pd.Timestamp(t.time[rows].min()).isoformat().removesuffix("T00:00:00"),
                "to": pd.Timestamp(t.time[rows].max()).isoformat().removesuffix("T00:00:00"),
            }


def test_cross_validation_of_large_tables_is_not_repeated() -> None:
    assert default_repeats(table(2000)) == 2
    assert default_repeats(table(2000, time="day")) == 1
    assert default_repeats(table(LARGE)) == 2
    assert default_repeats(table(LARGE + 1)) == 1
