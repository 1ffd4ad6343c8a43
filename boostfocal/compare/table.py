"""The table of a comparison: checked, and taken apart into features, target, time and group."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from . import columns
from .reading import COMMON, DataError, Dialect, listed, refuse_duplicates

MAX_CLASSES = 100  # a target of more distinct values is a quantity rather than a class
IDENTITY = (
    0.5  # a text column of so many distinct values, as a share of its rows, names rows rather than describes them
)
COPIES = 0.01  # the share of rows with an exact copy from which a note mentions them
LEAK_AUC = 0.99  # a single feature that ranks this well is more likely the target than a good feature


@dataclass(frozen=True)
class Table:
    """What a comparison needs of a table.

    Attributes
    ----------
    features : DataFrame
        Numeric columns, and categorical ones of dtype category; missing values are NaN.
    values : tuple of str
        The target's values: (the others, the positive one), or all of K classes, the most frequent first.
    labels : ndarray of int8 of shape (n,)
        Position in `values`.
    binary : bool
        Whether one value counts as positive and the rest as negative.
    time : ndarray of shape (n,) or None
        Numbers or datetime64.
    group : ndarray of int of shape (n,) or None
        The entity of each row, coded.
    amount : ndarray of shape (n,) or None
        What missing the row costs if it is positive.
    notes : list of str
        What the user should know about how the table was read.
    becomes : mapping of str to str
        What became of each column that has no other role: "number", "category", or why it is left out.
    made : mapping of str to str
        Features that must be converted to "float" or "text" first.
    read_as_text : tuple of str
        The columns whose text was kept as it stands in the file.
    all_labelled : bool
        Whether no row was left out for want of a label.
    dialect : Dialect
        How the file is written, if it is a CSV.
    """

    name: str
    target: str
    values: tuple[str, ...]
    binary: bool
    features: pd.DataFrame
    labels: NDArray[np.int8]
    time: NDArray[Any] | None
    group: NDArray[np.int64] | None
    notes: list[str]
    amount: NDArray[np.float64] | None = None
    becomes: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)
    read_as_text: tuple[str, ...] = ()
    all_labelled: bool = True
    dialect: Dialect = COMMON

    @property
    def positive(self) -> str:
        """The value that counts as positive, of a binary target."""
        return self.values[1]

    @property
    def class_names(self) -> tuple[str, ...]:
        """What to call the rows of each class."""
        return ("negative", "positive") if self.binary else tuple(f"{self.target} = {value}" for value in self.values)

    @property
    def outcome(self) -> str:
        """The number of rows of each class, in words."""
        counts = np.bincount(self.labels, minlength=len(self.values))
        if self.binary:
            share = counts[1] / self.labels.size
            return f"{counts[1]:,} positive ({share:.2%}: {self.target} = {self.positive})"
        listed = ", ".join(f"{value} {count:,}" for value, count in zip(self.values, counts, strict=True))
        return f"{len(self.values)} classes of {self.target} ({listed})"

    @property
    def categorical(self) -> list[int]:
        """Positions of the categorical features."""
        return [i for i, dtype in enumerate(self.features.dtypes) if isinstance(dtype, pd.CategoricalDtype)]

    def matrix(self) -> NDArray[np.float32]:
        """The features as both engines take them: categories as codes, missing values as NaN."""
        result = np.empty(self.features.shape, np.float32, order="C")
        for i, name in enumerate(self.features.columns):
            values = self.features[name]
            if i in self.categorical:
                codes = values.cat.codes.to_numpy()
                result[:, i] = np.where(codes < 0, np.nan, codes)
            else:
                result[:, i] = values.to_numpy(dtype=np.float32, na_value=np.nan)
        return result


def prepare(
    name: str,
    frame: pd.DataFrame,
    target: str,
    *,
    positive: str | None = None,
    time: str | None = None,
    group: str | None = None,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    amount: str | None = None,
    dialect: Dialect = COMMON,
) -> Table:
    """Check a table and take it apart.

    Parameters
    ----------
    name : str
        What to call the data.
    frame : DataFrame
        One row an observation. Not modified.
    target : str
        A column of two distinct values, or of up to 100 classes.
    positive : str, optional
        The target value that counts as positive; the others count as negative. Of two values the default
        is 1 or True if there, else the rarer one.
    time, group : str, optional
        Columns that order the rows and name their entity. They are not features.
    drop : sequence of str
        Further columns that are not features.
    categorical : sequence of str
        Columns that are categories, though they may look like numbers; given to `reading.read`, too.
    amount : str, optional
        Column of what missing a positive row costs. It stays a feature.
    dialect : Dialect, optional
        How the file is written, if it is a CSV.

    Raises
    ------
    DataError
        For columns that are not there or are there twice, a target of one value or too many, missing times
        or entities, numbers beyond float32, and a table without features. One message lists all problems.
    """
    refuse_duplicates(list(frame.columns))
    options: dict[str, Sequence[str | None]] = {
        "--target": [target],
        "--time": [time],
        "--group": [group],
        "--drop": drop,
        "--categorical": categorical,
        "--amount": [amount],
    }
    wanted = {option: [name for name in names if name is not None] for option, names in options.items()}
    problems: list[str] = []
    notes: list[str] = []
    for option, names in wanted.items():
        problems += [
            f"{option} must be a column of {name}, got {one!r}; there are {listed(frame.columns)}"
            for one in names
            if one not in frame.columns
        ]
    if target in drop:
        problems.append(f"--drop must not be the target, got {target!r}")
    if target == amount:
        problems.append(f"--amount must not be the target, got {target!r}")
    _raise(problems)
    labelled = frame[target].notna().to_numpy()
    if labelled.any() and not labelled.all():
        notes.append(f"without a label, and so left out: {labelled.size - labelled.sum():,} of {labelled.size:,} rows")
        frame = frame[labelled].reset_index(drop=True)
    labels, values = np.empty(0, np.int8), tuple[str, ...]()
    roles = {one for option in ("--target", "--time", "--group", "--drop") for one in wanted[option]}
    with _among(problems):
        labels, values = _labels(frame[target], target, positive, notes)
    order: NDArray[Any] | None = None
    entity: NDArray[np.int64] | None = None
    with _among(problems):
        order = None if time is None else columns.times(frame[time], notes)
    with _among(problems):
        entity = None if group is None else _group(frame[group], group)
    amounts: NDArray[np.float64] | None = None
    with _among(problems):
        amounts = None if amount is None else columns.amounts(frame[amount])
    becomes: dict[str, columns.Feature] = {}
    for column in frame.columns.drop(list(roles)):
        with _among(problems):
            becomes[column] = columns.feature(frame[column], column in categorical)
    features = {column: found.values for column, found in becomes.items() if found.values is not None}
    if not features and not problems:
        problems.append(f"{name} must have at least one feature beside {listed(sorted(roles))}; {_left_out(becomes)}")
    _raise(problems)
    table = Table(
        name=name,
        target=target,
        values=values,
        binary=positive is not None or len(values) == 2,
        features=pd.DataFrame(features, copy=False, index=frame.index),
        labels=labels,
        time=order,
        group=entity,
        notes=notes,
        amount=amounts,
        becomes={column: found.kind for column, found in becomes.items()},
        made={column: found.made for column, found in becomes.items() if found.made},
        read_as_text=tuple(categorical),
        all_labelled=bool(labelled.all()),
        dialect=dialect,
    )
    left_out = _left_out(becomes)
    if left_out:
        notes.append(f"left out of the features: {left_out}")
    notes += _remarks(table)
    return table


@contextmanager
def _among(problems: list[str]) -> Iterator[None]:
    """Collect errors, so that one message lists them all."""
    try:
        yield
    except DataError as error:
        problems.append(str(error))


def _raise(problems: list[str]) -> None:
    if problems:
        raise DataError("\n".join(problems))


def _left_out(becomes: Mapping[str, columns.Feature]) -> str:
    """The columns that are left out, by reason."""
    reasons: dict[str, list[str]] = {}
    for name, found in becomes.items():
        if found.values is None:
            reasons.setdefault(found.kind, []).append(name)
    return "; ".join(f"{listed(names)} ({reason})" for reason, names in reasons.items())


def _remarks(table: Table) -> Iterator[str]:
    """What may be wrong with a table although it allows a comparison."""
    leaks = [name for name in table.features if _gives_away(table.features[name], table.labels)]
    if leaks:
        yield (
            f"almost gives the target away on its own (AUC above {LEAK_AUC}): {listed(leaks)}; "
            "if it is the target under another name, or known only afterwards, leave it out with --drop"
        )
    names = [name for name in table.features if _names_rows(table.features[name])]
    if names:
        yield (
            f"differs from row to row, as an identity does: {listed(names)}; hardly anything learned from it "
            "holds for other rows: leave it out with --drop"
        )
    numbered = [name for name in table.features if _numbers_rows(table.features[name])]
    if numbered:
        yield (
            f"whole numbers that differ in every row, as those of an identity do: {listed(numbered)}; "
            "if it is one, leave it out with --drop"
        )
    copies = 0 if table.time is not None else _copies(table)
    if copies >= COPIES * table.labels.size:
        yield (
            f"{copies:,} of {table.labels.size:,} rows are exact copies of others, which are learned by heart where "
            "they are on both sides of a split: remove them if a record was written twice, or name what they belong "
            "to with --group"
        )


def _copies(table: Table) -> int:
    """How many rows have a copy, label included, that may be on the other side of a split."""
    rows = pd.util.hash_pandas_object(table.features.assign(**{"": table.labels}), index=False)
    entities = pd.Series(np.arange(len(rows)) if table.group is None else table.group)
    return int((entities.groupby(rows.to_numpy()).transform("nunique") > 1).sum())


def _labels(
    column: "pd.Series[Any]", target: str, positive: str | None, notes: list[str]
) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    if column.isna().all():
        raise DataError(f"--target {target!r} must have values, got {column.size} missing ones")
    texts = column.astype(str)  # as the winner's code makes them
    counts = texts.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if not 2 <= len(counts) <= MAX_CLASSES:
        seen = "one class only" if len(counts) == 1 else f"{len(counts)} distinct values"
        accepted = f"two to {MAX_CLASSES} distinct values"
        raise DataError(f"--target {target!r} must have {accepted}, got {seen}: {listed(counts.index)}")
    found = tuple(str(text) for text in counts.index)
    if positive is None and len(found) > 2:
        return texts.map(found.index).to_numpy(dtype=np.int8), found
    if positive is None:
        ones = [text for text in ("1", "True", "1.0") if text in found]
        positive = ones[0] if ones else found[-1]
        if not ones:
            notes.append(f"{positive!r}, the rarer value of {target!r}, counts as positive; --positive chooses another")
    if positive not in found:
        raise DataError(f"--positive must be a value of {target!r}, got {positive!r}; there are {listed(found)}")
    others = [text for text in found if text != positive]
    return (texts == positive).to_numpy().astype(np.int8), (" or ".join(others), positive)


def _names_rows(feature: "pd.Series[Any]") -> bool:
    """Whether a text column is an identifier, or another text that rarely occurs twice."""
    text = isinstance(feature.dtype, pd.CategoricalDtype)
    return text and feature.nunique() > max(MAX_CLASSES, IDENTITY * int(feature.notna().sum()))


def _numbers_rows(feature: "pd.Series[Any]") -> bool:
    """Whether every row has a whole number of its own."""
    if isinstance(feature.dtype, pd.CategoricalDtype) or len(feature) <= MAX_CLASSES:
        return False
    return feature.nunique() == len(feature) and bool((feature.to_numpy(np.float64) % 1 == 0).all())


def _gives_away(feature: "pd.Series[Any]", labels: NDArray[np.int8]) -> bool:
    """Whether the feature alone tells every class from the rest almost perfectly."""
    classes = np.unique(labels)
    if classes.size > 2 and feature.nunique() <= MAX_CLASSES:  # a code of the classes need not be in order
        feature = feature.astype("category")
    return all(_ranks_alone(feature, (labels == k).astype(np.int8)) for k in classes[1:])


def _ranks_alone(feature: "pd.Series[Any]", labels: NDArray[np.int8]) -> bool:
    """Whether the feature alone, or that it is missing, ranks the rows almost perfectly.

    A category ranks by the share of positives in the other half of the rows: an identifier, which is
    different in each row, is no leak.
    """
    from sklearn.metrics import roc_auc_score

    known = feature.notna().to_numpy()
    scores: list[tuple[NDArray[Any], NDArray[Any]]] = [(known.astype(np.float64), labels)]
    if isinstance(feature.dtype, pd.CategoricalDtype):
        half = np.random.default_rng(0).random(labels.size) < 0.5
        shares = pd.Series(labels[half]).groupby(feature[half].cat.codes.to_numpy()).mean()
        score = feature[~half].cat.codes.map(shares).fillna(labels.mean()).to_numpy(dtype=np.float64)
        scores.append((score, labels[~half]))
    else:
        scores.append((feature[known].to_numpy(dtype=np.float64), labels[known]))
    for values, truth in scores:
        if 0 < truth.sum() < truth.size:
            area = roc_auc_score(truth, values)
            if max(area, 1 - area) > LEAK_AUC:
                return True
    return False


def _group(column: "pd.Series[Any]", name: str) -> NDArray[np.int64]:
    if column.isna().any():
        raise DataError(f"--group {name!r} must not be missing in any row, got {int(column.isna().sum())} missing")
    return pd.factorize(column)[0].astype(np.int64)
