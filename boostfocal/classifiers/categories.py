"""Categories of the columns that a model was trained on, and rows that have them as plain text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Categories = Mapping[str, list[Any]]


def categories_of(X: Any) -> dict[str, list[Any]]:
    """The categories of a pandas table's categorical columns: text, numbers or booleans, which a file can keep."""
    if not _is_table(X):
        return {}
    found = {str(name): list(dtype.categories) for name, dtype in X.dtypes.items() if _is_category(dtype)}
    plain = {name: [one.item() if hasattr(one, "item") else one for one in values] for name, values in found.items()}
    return {name: values for name, values in plain.items() if all(isinstance(one, (str, int, float)) for one in values)}


def with_categories(X: Any, known: Categories) -> Any:
    """The table with columns of plain text or objects made categorical if they were so in training.

    A value that training did not see becomes a category of its own, which the engine treats as it treats unknown ones.
    """
    if not known or not _is_table(X):
        return X
    from pandas import CategoricalDtype
    from pandas.api.types import is_object_dtype, is_string_dtype

    dtypes = {}
    for name, dtype in X.dtypes.items():
        if name in known and not _is_category(dtype) and (is_object_dtype(dtype) or is_string_dtype(dtype)):
            unseen = [one for one in X[name].dropna().unique() if one not in known[name]]
            dtypes[name] = CategoricalDtype([*known[name], *unseen])
    return X.astype(dtypes) if dtypes else X


def check_categories(values: Any) -> dict[str, list[Any]]:
    """Check categories that were read from a file.

    Raises
    ------
    TypeError
    """
    if not isinstance(values, Mapping) or not all(
        isinstance(listed, list) and all(isinstance(one, (str, int, float)) for one in listed)
        for listed in values.values()
    ):
        raise TypeError(f"categories must be text or numbers by column, got {values!r:.100}")
    return dict(values)


def _is_table(X: Any) -> bool:
    return type(X).__module__.partition(".")[0] == "pandas" and hasattr(X, "dtypes") and hasattr(X, "columns")


def _is_category(dtype: Any) -> bool:
    return type(dtype).__name__ == "CategoricalDtype"
