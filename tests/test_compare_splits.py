from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from boostfocal.compare.splits import MIN_POSITIVES, Split, make_splits
from boostfocal.compare.table import DataError, Table, prepare


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
    with pytest.raises(DataError, match="--gap must be a number, in the unit of --time, got '7D'"):
        make_splits(table(time="day"), folds=4, repeats=1, gap="7D", seed=0)
    with pytest.raises(DataError, match="--gap must not be negative"):
        make_splits(table(time="day"), folds=4, repeats=1, gap="-1", seed=0)
    with pytest.raises(DataError, match='--gap must be a duration such as "7D"'):
        make_splits(table(time="date"), folds=4, repeats=1, gap="soon", seed=0)
    with pytest.raises(DataError, match=r"split 1 has \d+ positive rows to fit"):
        make_splits(table(time="day"), folds=4, repeats=1, gap="37", seed=0)
