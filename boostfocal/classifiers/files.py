"""Model files: an engine's own format with our state inside, so that one file is the whole model."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote

import numpy as np
from numpy.typing import NDArray

KEY = "boostfocal"
"""Name of the booster's attribute (XGBoost), or of the line in the header (LightGBM)."""

FORMAT = 1
TREES = "\ntree_sizes="
"""Where LightGBM's header ends, but for the sizes of the trees."""

POSTERIOR_KEYS = {"loss", "n_classes", "gamma", "alpha", "hessian", "max_step", "slope", "bias"}


class ModelFileError(ValueError):
    """A model file that is damaged, or not one of ours."""


def encode(state: Mapping[str, Any]) -> str:
    text = json.dumps(state, allow_nan=False, separators=(",", ":"))
    return quote(
        text, safe=" !\"#$&'()*+,/:;<>?@[]^_`{|}~"
    )  # XGBoost's JSON stumbles over "\\", LightGBM's lines over "="


def decode(text: str | None, path: Any) -> dict[str, Any]:
    """The state in a file.

    Raises
    ------
    ModelFileError
        If there is none, it is damaged, or was written by a later version.
    """
    if text is None:
        raise ModelFileError(f"{path} has no focal loss in it: it was not written by save_model of a focal classifier")
    try:
        state = json.loads(unquote(text, errors="strict"))
        version = state["format"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged: what {KEY} wrote into it cannot be read") from error
    if version != FORMAT:
        raise ModelFileError(f"{path} has format {version!r} of {KEY}, this version reads {FORMAT}: update {KEY}")
    return dict(state)


def with_line(text: str, state: Mapping[str, Any]) -> str:
    """LightGBM's text with the state as a line before the trees, and a digest of the rest to find damage by."""
    head, mark, rest = text.partition(TREES)
    line = encode({**state, "sha256": _digest(text)})
    return f"{head}\n{KEY}={line}{mark}{rest}"


def without_line(content: bytes, path: Any) -> tuple[str, dict[str, Any]]:
    """LightGBM's text and the state in its line.

    Raises
    ------
    ModelFileError
        If there is no line, or the text is not the one that it was written for.
    """
    try:
        text = content.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{path} is no text file of LightGBM, or damaged: {error}") from error
    head, mark, after = text.partition(f"\n{KEY}=")
    line, newline, rest = after.partition("\n")
    state = decode(line if mark else None, path)
    if state.pop("sha256", None) != _digest(head + newline + rest):
        raise ModelFileError(f"{path} is damaged: its text has changed since it was written")
    return head + newline + rest, state


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def labels_to_json(labels: NDArray[Any]) -> dict[str, Any]:
    if labels.dtype.kind in "biuf":
        return {"dtype": labels.dtype.str, "values": labels.tolist()}
    values = labels.tolist()
    if not all(isinstance(value, str) for value in values):
        raise TypeError(f"labels must be numbers, bools or text to be saved in a model file, got {values}; use pickle")
    return {"dtype": "object" if labels.dtype == object else "str", "values": values}


def labels_from_json(stored: Mapping[str, Any]) -> NDArray[Any]:
    dtype, values = str(stored["dtype"]), list(stored["values"])
    kind = {"object": object, "str": np.str_}.get(dtype) or np.dtype(dtype)
    if kind is not object and np.dtype(kind).kind not in "biufU":
        raise ValueError(f"dtype must be of numbers or text, got {dtype!r}")
    if not all(isinstance(value, (str, int, float)) for value in values):
        raise ValueError(f"labels must be numbers or text, got {values!r}")
    return np.array(values, dtype=kind)


@contextmanager
def damaged(path: Any) -> Iterator[None]:
    """Values that do not fit the program's own types become one error about the file."""
    try:
        yield
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise ModelFileError(f"{path} is damaged: {error}") from error
