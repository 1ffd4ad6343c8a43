"""Training and test rows: stratified, forward in time, and by entity; for the outer and the inner level."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .reading import DataError
from .table import Table

Index = NDArray[np.int64]

MIN_POSITIVES = 5  # in each part on which something is measured: with fewer, average precision says nothing
VERBS = {"fit": "fit", "validation": "choose settings by", "test": "test"}
LARGE = 50_000  # rows above which cross-validation is not repeated by default: its intervals are narrow enough
INNER_FOLDS = 4  # a quarter of the training rows chooses hyperparameters and the number of rounds


@dataclass(frozen=True)
class Split:
    """Rows to train on, of which `fit` and `validation` choose hyperparameters, and rows to test on."""

    train: Index
    fit: Index
    validation: Index
    test: Index


@dataclass(frozen=True)
class Design:
    """How to split the rows, and which engines to train, as the user asked for it."""

    folds: int
    repeats: int
    seed: int
    time: str | None = None
    gap: str | None = None
    group: str | None = None
    drop: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of split, in words."""
        entities = f"no {self.group} is on both sides" if self.group else ""
        if self.time:
            words = [f"forward in {self.time}, {self.folds} windows", f"gap {self.gap}" if self.gap else "no gap"]
        else:
            repeated = f", {self.repeats} repeats" if self.repeats > 1 else ""
            words = [f"at random, {self.folds} folds{repeated}"]
        return ", ".join([*words, entities] if entities else words)


def default_repeats(table: Table) -> int:
    """How often cross-validation is repeated, unless the user says."""
    return 1 if table.time is not None or table.labels.size > LARGE else 2


def describe(table: Table, splits: list[Split]) -> list[dict[str, Any]]:
    """The rows, the rows of the rarer classes, and the times of each split, for training and for testing."""
    result: list[dict[str, Any]] = []
    for number, split in enumerate(splits, start=1):
        parts: dict[str, Any] = {"split": number}
        for part, rows in (("train", split.train), ("test", split.test)):
            counts = np.bincount(table.labels[rows], minlength=len(table.values)).tolist()
            parts[part] = {"rows": int(rows.size)}
            parts[part] |= (
                {"positive": counts[1]} if table.binary else {"classes": dict(zip(table.values, counts, strict=True))}
            )
            if table.time is not None:
                first, last = table.time[rows].min(), table.time[rows].max()
                parts[part] |= {"from": _moment(first), "to": _moment(last)}
        result.append(parts)
    return result


def _moment(time: Any) -> Any:
    if isinstance(time, np.datetime64):
        text = pd.Timestamp(time).isoformat()
        return text.removesuffix("T00:00:00")
    return time.item()


def make_splits(table: Table, *, folds: int, repeats: int, gap: str | None, seed: int) -> list[Split]:
    """The splits of a comparison, in the order they should run.

    Without time: `repeats` times `folds`-fold cross-validation, stratified, with whole groups on one
    side. With time: the rows are cut at quantiles of time into `folds + 1` blocks. Each block but the
    first is tested after training on all rows before it, up to `gap` before its start. With time and
    group: block j tests the j-th share of the entities, after training on the other entities' earlier
    rows. The inner split is of the same kind.

    Raises
    ------
    DataError
        If a part would have fewer than 5 rows of a class.
    """
    _check_options(table, folds, repeats, gap)
    result, problem = _splits(table, folds, repeats, gap, seed)
    if problem:
        works = next((n for n in range(folds - 1, 1, -1) if _works(table, n, repeats, gap, seed)), None)
        within = "; the gap applies inside training, too, where settings are chosen" if gap is not None else ""
        advice = "no number of --folds would do" if works is None else f"--folds {works} would do"
        others = "a shorter --gap, or more data" if gap is not None else "more data"
        raise DataError(f"{problem}, {MIN_POSITIVES} are needed{within}: {advice}; else {others}")
    return result


def _check_options(table: Table, folds: int, repeats: int, gap: str | None) -> None:
    if repeats > 1 and table.time is not None:
        raise DataError(f"--repeats must be 1 with --time, got {repeats}: the windows of time are not random")
    if gap is not None and table.time is None:
        raise DataError(f"--gap needs --time, got {gap!r}")
    for name, count in _counts(table, table.labels):
        # a test fold holds 1/folds of them, inner validation 1/INNER_FOLDS of the rest
        needed = int(np.ceil(MIN_POSITIVES * max(folds, INNER_FOLDS * folds / (folds - 1))))
        if count < needed:
            raise DataError(f"{table.name} must have at least {needed} {name} rows for {folds} folds, got {count}")


def _splits(table: Table, folds: int, repeats: int, gap: str | None, seed: int) -> tuple[list[Split], str]:
    """The splits, and what is wrong with them, if anything is."""
    rows = np.arange(table.labels.size)
    result: list[Split] = []
    for repeat in range(repeats):
        for train, test in _parts(table, rows, folds, gap, seed + repeat):
            if train.size <= INNER_FOLDS:
                return [], f"split {len(result) + 1} has {train.size} rows to train on"
            # stratified folds are exchangeable: take the first; of windows of time the last is the newest
            inner = _parts(table, train, INNER_FOLDS, gap, seed + repeat, last_only=True)
            fit, validation = inner[-1]
            result.append(Split(train, fit, validation, test))
    return result, _problem(table, result)


def _works(table: Table, folds: int, repeats: int, gap: str | None, seed: int) -> bool:
    try:
        return not _splits(table, folds, repeats, gap, seed)[1]
    except DataError:
        return False


def _counts(table: Table, labels: NDArray[Any]) -> list[tuple[str, int]]:
    counts = np.bincount(labels, minlength=len(table.values)).tolist()
    return list(zip(table.class_names, counts, strict=True))[::-1]  # the rare ones first


def _parts(
    table: Table, rows: Index, folds: int, gap: str | None, seed: int, *, last_only: bool = False
) -> list[tuple[Index, Index]]:
    """(training, test) rows out of `rows`."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    labels = table.labels[rows]
    if table.group is not None:
        by_group = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        groups = table.group[rows]
        if np.unique(groups).size < folds:
            raise DataError(f"--group must have at least {folds} distinct values, got {np.unique(groups).size}")
        cuts = list(by_group.split(rows, labels, groups))
    elif table.time is None:
        cuts = list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, labels))
    else:
        cuts = [(np.arange(rows.size), np.arange(rows.size))] * folds  # every row may be on either side
    if table.time is not None:
        windows = _windows(table.time[rows], folds, gap, last_only)
        cuts = [
            (train[before[train]], test[inside[test]])
            for (train, test), (before, inside) in zip(cuts[-len(windows) :], windows, strict=True)
        ]
    return [(rows[train], rows[test]) for train, test in cuts]


def _windows(
    time: NDArray[Any], folds: int, gap: str | None, last_only: bool
) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """For each window of time: the rows whose label is known before it starts, and the rows in it."""
    delay = _gap(gap, time)
    shares = [1 - 1 / folds] if last_only else [block / (folds + 1) for block in range(1, folds + 1)]
    ordered = np.sort(time)
    starts = [ordered[int(share * time.size)] for share in shares]
    ends = [*starts[1:], None]
    if len(set(starts)) < len(starts):
        raise DataError(f"--time must have at least {folds + 1} well-spread values, got {np.unique(time).size}")
    windows = []
    for start, end in zip(starts, ends, strict=True):
        inside = (time >= start) if end is None else (time >= start) & (time < end)
        windows.append(((time < start) & (time <= start - delay), inside))
    return windows


def _gap(gap: str | None, time: NDArray[Any]) -> Any:
    dates = time.dtype.kind == "M"
    if gap is None:
        return np.timedelta64(0, "s") if dates else 0
    accepted = 'a duration with its unit, such as "7D" or "12h"' if dates else "a number, in the unit of --time"
    try:
        if dates and not re.search("[A-Za-z:]", gap):
            raise ValueError("it has no unit")  # pandas would take nanoseconds
        value: Any = np.timedelta64(pd.Timedelta(gap).value, "ns") if dates else float(gap)
    except ValueError as error:
        raise DataError(f"--gap must be {accepted}, got {gap!r}") from error
    if not np.isfinite(value) or value < (np.timedelta64(0, "s") if dates else 0):
        raise DataError(f"--gap must be {accepted}, finite and not negative, got {gap!r}")
    return value


def _problem(table: Table, splits: list[Split]) -> str:
    """The problem with the first part that has too few rows of a class, if any has."""
    for number, split in enumerate(splits):
        for part in ("fit", "validation", "test"):
            for name, count in _counts(table, table.labels[getattr(split, part)]):
                if count < MIN_POSITIVES:
                    return f"split {number + 1} has {count} {name} rows to {VERBS[part]}"
    return ""
