"""Model files: an engine's own format with our state inside, so that one file is the whole model."""

import hashlib
import json
import re
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
    """LightGBM's text with the state as a line before the trees."""
    head, mark, rest = text.partition(TREES)
    return f"{head}\n{KEY}={encode(state)}{mark}{rest}"


def without_line(text: str, path: Any) -> tuple[str, dict[str, Any]]:
    """LightGBM's text and the state in its line.

    Raises
    ------
    ModelFileError
        If there is no line.
    """
    head, mark, after = text.partition(f"\n{KEY}=")
    line, newline, rest = after.partition("\n")
    return head + newline + rest, decode(line if mark else None, path)


# An engine may crash on a damaged file, so it must not get one: the digest of the whole file is in its note.

UNSEALED = {"sha256": "0" * 64}
"""Part of a state that leaves room for the digest."""

SEAL = re.compile(rb"sha256[^0-9a-f]{1,12}([0-9a-f]{64})")


def sealed(content: bytes) -> bytes:
    """The content of a file with its digest in the room that the state leaves for it."""
    place = SEAL.search(content, content.find(KEY.encode()))
    assert place is not None
    return _with_digest(content, place, _digest(content, place))


def check_seal(content: bytes, path: Any) -> None:
    """Refuse a file without a state, or with another digest than its own; one that XGBoost itself wrote has zeros.

    Raises
    ------
    ModelFileError
    """
    at = content.find(KEY.encode())
    if at < 0:
        decode(None, path)
    place = SEAL.search(content, at)
    if place is None:
        raise ModelFileError(f"{path} is damaged: what {KEY} wrote into it cannot be read")
    if place[1] not in (UNSEALED["sha256"].encode(), _digest(content, place)):
        raise ModelFileError(f"{path} is damaged: its content has changed since it was written")


def _digest(content: bytes, place: re.Match[bytes]) -> bytes:
    blank = _with_digest(content, place, UNSEALED["sha256"].encode())
    return hashlib.sha256(blank).hexdigest().encode()


def _with_digest(content: bytes, place: re.Match[bytes], digest: bytes) -> bytes:
    return content[: place.start(1)] + digest + content[place.end(1) :]


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
