"""Model files: an engine's own format with the state of a classifier inside, so that one file is the whole model.

The state stands in a note: "sha256:", a digest, ";" and the state as quoted JSON. The digest is of the whole file, in
which it counts as zeros itself. XGBoost's files have the note as an attribute of the booster, LightGBM's as a line
before the trees. Both are found by the format's structure, since labels, names and other attributes that users control
may hold any text.

The digest detects damage. An engine may crash on a damaged file, so it must not get one. The digest does not detect an
adversary: trust a model file as you trust code.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any
from urllib.parse import quote, unquote

from .state import FittedState

KEY = "boostfocal"
"""Name of the booster's attribute (XGBoost), or of the line in the header (LightGBM)."""

FORMAT = 1
READERS: Mapping[int, Callable[[Mapping[str, Any]], FittedState]] = {1: FittedState.from_json}
"""How the state of each format is read. A format is for ever: files of it exist.

For the next one: increase `FORMAT`; let `FittedState.from_json` read it; keep a reader of the old one here, a function
that makes the new values of the old and calls ``from_json``; and keep a file that the old version wrote in the tests.
"""

DIGEST = "sha256:"
NO_DIGEST = "0" * 64
TREES = "\ntree_sizes="
"""Where LightGBM's header ends, but for the sizes of the trees."""


class ModelFileError(ValueError):
    """A model file that is damaged, or not one of ours."""


# --- notes -----------------------------------------------------------------------------------------


def note(state: FittedState) -> str:
    """A state as text, with room for a digest."""
    values = json.dumps({"format": FORMAT, **state.to_json()}, allow_nan=False, separators=(",", ":"))
    # XGBoost's JSON stumbles over "\\", LightGBM's lines over "="
    return f"{DIGEST}{NO_DIGEST};{quote(values, safe=' !#$&()*+,/:;<>?@[]^_`{|}~' + chr(34) + chr(39))}"


def read_note(text: str | None, path: Any) -> FittedState:
    """The state in a note.

    Raises
    ------
    ModelFileError
        If there is no note, or if it is damaged or was written by a later version.
    """
    if text is None:
        raise ModelFileError(f"{path} has no focal loss in it: it was not written by save_model of a focal classifier")
    try:
        values = json.loads(unquote(text.partition(";")[2], errors="strict"))
        version = values.pop("format")
        reader = READERS.get(version)
        if reader is not None:
            return reader(values)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged: what {KEY} wrote into it cannot be read: {error}") from error
    raise ModelFileError(
        f"{path} has format {version!r} of {KEY}, this version reads {', '.join(map(str, READERS))}: update {KEY}"
    )


def with_line(text: str, state: FittedState) -> bytes:
    """LightGBM's text with the note as a line before the trees."""
    head, mark, rest = text.partition(TREES)
    return f"{head}\n{KEY}={note(state)}{mark}{rest}".encode()


def line(text: str) -> str | None:
    """The note in the header of LightGBM's text."""
    head = text.partition(TREES)[0]
    _, mark, after = head.partition(f"\n{KEY}=")
    return after.partition("\n")[0] if mark else None


def without_line(text: str) -> str:
    """LightGBM's text as the engine writes it."""
    head, _, rest = text.partition(f"\n{KEY}=")
    return head + "\n" + rest.partition("\n")[2]


# --- digests ---------------------------------------------------------------------------------------


def with_digest(content: bytes) -> bytes:
    """The content of a file with its digest in the note's room."""
    place = _note_start(content)
    assert place is not None
    return _put(content, place, _digest(content, place))


def check_digest(content: bytes, path: Any) -> None:
    """Refuse a file without a note, or with another digest.

    XGBoost itself writes files without a digest (checkpoints, ``get_booster().save_model``): they are accepted if
    they are whole.

    Raises
    ------
    ModelFileError
    """
    try:
        place = _note_start(content)
        found = None if place is None else content[place : place + 64]
        if found == NO_DIGEST.encode() and not content.startswith(b"tree"):
            _check_whole(content)
            return
    except (ValueError, IndexError, KeyError, RecursionError) as error:
        raise ModelFileError(f"{path} is damaged, or not a model file: {error}") from error
    if place is None:
        read_note(None, path)
    elif found != _digest(content, place):
        raise ModelFileError(f"{path} is damaged: its content has changed since it was written")


def _digest(content: bytes, place: int) -> bytes:
    return hashlib.sha256(_put(content, place, NO_DIGEST.encode())).hexdigest().encode()


def _put(content: bytes, place: int, digest: bytes) -> bytes:
    return content[:place] + digest + content[place + len(digest) :]


def _note_start(content: bytes) -> int | None:
    """Where the digest of a file begins; None if the file has no note."""
    if content.startswith(b"tree"):
        line = content.find(f"\n{KEY}=".encode(), 0, content.find(TREES.encode()))
        start = line + len(KEY) + 2 if line >= 0 else None
    else:
        attributes = _json_attributes(content) if content[1:2] == b'"' else _ubjson_attributes(content)
        start = dict(attributes).get(KEY)
    if start is None or content[start : start + len(DIGEST)] != DIGEST.encode():
        return None
    return start + len(DIGEST)


# --- XGBoost's formats: objects whose keys are in alphabetical order, so that attributes come first -------------------


def _json_attributes(content: bytes) -> Iterator[tuple[str, int]]:
    """The booster's attributes in JSON: their names, and where their values begin."""
    head = b'{"learner":{"attributes":{'
    if not content.startswith(head):
        raise ValueError("it does not begin as XGBoost's JSON does")
    text = content.decode("latin-1")  # one character a byte
    at = len(head)
    while text[at] == '"':
        name, at = scanstring(text, at + 1, False)
        if text[at : at + 2] != ':"':
            raise ValueError("an attribute is not text")
        yield name, at + 2
        _, at = scanstring(text, at + 2, False)
        at += text[at] == ","


def _ubjson_attributes(content: bytes) -> Iterator[tuple[str, int]]:
    """`_json_attributes` in UBJSON."""
    at = 0
    for name in (b"learner", b"attributes"):
        head = b"{L" + len(name).to_bytes(8, "big") + name
        if content[at : at + len(head)] != head:
            raise ValueError("it does not begin as XGBoost's UBJSON does")
        at += len(head)
    if content[at : at + 1] != b"{":
        raise ValueError("its attributes are not an object")
    at += 1
    while content[at : at + 1] == b"L":
        start, at = _ubjson_text(content, at)
        name = content[start:at]
        if content[at : at + 1] != b"S":
            raise ValueError("an attribute is not text")
        start, at = _ubjson_text(content, at + 1)
        yield name.decode("latin-1"), start


SIZES = {b"i": 1, b"U": 1, b"I": 2, b"l": 4, b"L": 8, b"d": 4, b"D": 8, b"T": 0, b"F": 0, b"Z": 0}
"""Bytes of a value of each UBJSON type."""


def _check_whole(content: bytes) -> None:
    """Refuse content that is not one whole JSON or UBJSON value: XGBoost's reader may crash on it."""
    if content[1:2] == b'"':
        json.loads(content)
    elif _ubjson_end(content, 0) != len(content):
        raise ValueError("there is more after its end")


def _ubjson_end(content: bytes, at: int) -> int:
    kind = content[at : at + 1]
    at += 1
    if kind in SIZES:
        at += SIZES[kind]
    elif kind == b"S":
        _, at = _ubjson_text(content, at)
    elif kind == b"{":
        while content[at : at + 1] != b"}":
            _, at = _ubjson_text(content, at)
            at = _ubjson_end(content, at)
        at += 1
    elif kind == b"[":
        fixed = content[at + 1 : at + 2] if content[at : at + 1] == b"$" else b""
        at += 2 if fixed else 0
        if content[at : at + 1] != b"#":
            raise ValueError("an array does not tell its length")
        count, at = _ubjson_length(content, at + 1)
        if fixed:
            at += count * SIZES[fixed]
        for _ in range(0 if fixed else count):
            at = _ubjson_end(content, at)
    else:
        raise ValueError(f"there is {kind!r} where a value should begin")
    if at > len(content):
        raise ValueError("it ends too early")
    return at


def _ubjson_text(content: bytes, at: int) -> tuple[int, int]:
    """Where a text begins and ends."""
    length, at = _ubjson_length(content, at)
    if at + length > len(content):
        raise ValueError("a text is longer than the file")
    return at, at + length


def _ubjson_length(content: bytes, at: int) -> tuple[int, int]:
    kind = content[at : at + 1]
    if kind not in (b"i", b"U", b"I", b"l", b"L"):
        raise ValueError(f"there is {kind!r} where a length should be")
    end = at + 1 + SIZES[kind]
    length = int.from_bytes(content[at + 1 : end], "big", signed=kind != b"U")
    if not 0 <= length <= len(content):
        raise ValueError("a length is larger than the file")
    return length, end


@contextmanager
def damaged(path: Any) -> Iterator[None]:
    """Turn errors from values of unexpected types into one error about the file."""
    try:
        yield
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise ModelFileError(f"{path} is damaged: {error}") from error
