"""How each column of a table is used, depending on its content, whatever file it comes from."""

from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .reading import DataError

NUMBER, CATEGORY = "number", "category"

RULES = {
    "boolean": NUMBER,
    "integer": NUMBER,
    "floating": NUMBER,
    "mixed-integer-float": NUMBER,
    "decimal": NUMBER,
    "string": CATEGORY,
    "mixed-integer": CATEGORY,  # text and numbers
    "categorical": CATEGORY,
}
"""What pandas infers of a column's values, and what the column then is; all else is left out."""

LEFT_OUT = {
    "empty": "all missing",
    "date": "dates: derive numbers from them",
    "datetime": "dates: derive numbers from them",
    "datetime64": "dates: derive numbers from them",
    "timedelta": "durations: make numbers of them",
    "timedelta64": "durations: make numbers of them",
    "time": "times of day: make numbers of them",
    "bytes": "bytes",
}
OTHERS = "neither numbers nor text"
CONSTANT = "constant"

LARGEST = float(np.finfo(np.float32).max)  # the engines take float32
DATE = r"\d{4}-\d{2}-\d{2}"
FIRST_DAY, LAST_DAY = 1900_01_01, 2200_01_01  # whole numbers of eight digits between them may be dates


class Feature(NamedTuple):
    """A column as the engines take it, or None and the reason; `made` is what it must be converted to first."""

    values: "pd.Series[Any] | None"
    kind: str  # NUMBER, CATEGORY, or why it is left out
    made: Literal["", "float", "text"] = ""


def feature(column: "pd.Series[Any]", categorical: bool = False) -> Feature:
    """Treat the column by the rules, or as a category.

    Raises
    ------
    DataError
        For numbers that float32 cannot hold.
    """
    if column.isna().all():
        return Feature(None, LEFT_OUT["empty"])
    found = kind_of_values(column)
    kind = CATEGORY if categorical and found not in ("bytes", "mixed") else RULES.get(found)
    if kind is None:
        return Feature(None, LEFT_OUT.get(found, OTHERS))
    if column.nunique(dropna=False) == 1:
        return Feature(None, CONSTANT)
    if kind == NUMBER:
        return Feature(_numbers(column), kind, "float" if column.dtype == object else "")
    if _is_text(column):
        return Feature(_without_unused(column.astype("category")), kind)
    return Feature(_without_unused(_as_text(column).astype("category")), kind, "text")


def _is_text(column: "pd.Series[Any]") -> bool:
    dtype: Any = column.dtype
    values = dtype.categories if isinstance(dtype, pd.CategoricalDtype) else column
    return pd.api.types.infer_dtype(values, skipna=True) == "string"


def _as_text(column: "pd.Series[Any]") -> "pd.Series[Any]":
    """Each value as text; missing values stay missing."""
    return column.map(str, na_action="ignore")


def _without_unused(column: "pd.Series[Any]") -> "pd.Series[Any]":
    return column.cat.remove_unused_categories()


def kind_of_values(column: "pd.Series[Any]") -> str:
    """The kind that pandas infers; text that is all ISO 8601 dates, as in a CSV, counts as dates."""
    dtype: Any = column.dtype
    values = dtype.categories if isinstance(dtype, pd.CategoricalDtype) else column
    found = pd.api.types.infer_dtype(values, skipna=True)
    if found == "string":
        return "date" if _dates(pd.Series(values).dropna()) is not None else found
    is_category = isinstance(dtype, pd.CategoricalDtype) and found in RULES
    return "categorical" if is_category else found


def _numbers(column: "pd.Series[Any]") -> "pd.Series[Any]":
    numbers = column.astype(float) if column.dtype == object else column
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    with np.errstate(invalid="ignore"):
        too_large = np.abs(values) > LARGEST
    if too_large.any():
        raise DataError(
            f"feature {column.name!r} must be finite float32 numbers or missing, got {values[too_large][0]:g}; "
            "mend it, or leave it out with --drop"
        )
    return numbers


def times(column: "pd.Series[Any]", notes: list[str]) -> NDArray[Any]:
    """The numbers or dates of `--time`: numbers, or datetime64 in UTC.

    Raises
    ------
    DataError
        For missing values, and for values that are neither numbers nor dates.
    """
    name = column.name
    if column.isna().any():
        raise DataError(f"--time {name!r} must not be missing in any row, got {int(column.isna().sum())} missing")
    found = pd.api.types.infer_dtype(column, skipna=True)
    dates: Any = None
    if found == "string":
        dates = _dates(column)
        if dates is None:
            raise DataError(f"--time {name!r} must be numbers or ISO 8601 dates, got {column.iloc[0]!r}")
    elif found in ("date", "datetime", "datetime64"):
        dates = pd.to_datetime(column, utc=True)
    elif found == "integer" and column.between(FIRST_DAY, LAST_DAY).all():
        dates = pd.to_datetime(column.astype("int64").astype(str), format="%Y%m%d", errors="coerce", utc=True)
        if dates.isna().any():
            dates = None
        else:
            notes.append(f"the whole numbers of eight digits in {name!r} are taken for dates, YYYYMMDD")
    if dates is not None:
        return np.asarray(dates.dt.tz_localize(None).to_numpy())
    if RULES.get(found) != NUMBER:
        raise DataError(f"--time {name!r} must be numbers or dates, got {OTHERS if found == 'mixed' else found}")
    return column.to_numpy(dtype=np.float64) if column.dtype == object else column.to_numpy()


def _dates(texts: "pd.Series[Any]") -> "pd.Series[Any] | None":
    """The texts as dates, if all are in ISO 8601."""
    head = texts.head(100)
    if not head.str.match(DATE).all() and not head.str.fullmatch(r"\d{8}").all():
        return None
    dates = pd.to_datetime(texts, format="ISO8601", errors="coerce", utc=True)
    return None if dates.isna().any() else dates


def amounts(column: "pd.Series[Any]") -> NDArray[np.float64]:
    """Numbers that are not negative, none missing."""
    found = pd.api.types.infer_dtype(column, skipna=True)
    accepted = f"--amount {column.name!r} must be numbers that are not negative, in every row"
    if RULES.get(found) != NUMBER:
        raise DataError(f"{accepted}, got {OTHERS if found == 'mixed' else found}")
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = ~((values >= 0) & np.isfinite(values))
    if wrong.any():
        raise DataError(f"{accepted}, got {int(wrong.sum())} that are not, the first {values[wrong][0]:g}")
    return values
