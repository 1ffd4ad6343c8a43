"""Rows of K classes on the CPU, in O(K) a row: loops over rows inside loops over classes.

Read `elementwise` first: this is the same with a second axis. The softmax focal loss of a row is the binary one in the
log odds of its class, so the formulas are the same, too.

XGBoost's arrays have the classes of a row side by side, LightGBM's the rows of a class. The loops (`softmax_loops`)
work on small blocks of the second kind, which stay in the nearest caches, and copy either kind to and from them.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..batch import Batch
from . import threads
from .arrays import Array, copy_to, is_plain, order
from .cache import Kernel
from .softmax_loops import CLASS_FIELDS, ROW_FIELDS

BLOCK = 256  # rows
NUMPY_BLOCK = 2048  # the same on NumPy, which takes some time for each operation
PIECE = 65536  # elements that a thread takes at once

CONSTANTS = (0.0, 1.0, 2.0)  # gammas that get a kernel of their own, which saves a quarter


@lru_cache(maxsize=256)
def _kernel(formula: str, gamma: float | None, weighted: bool, layout: str, wide: bool) -> Kernel:
    margins, by_column = "float64" if wide else "float32", ".T" if layout == "F" else ""
    buffers = f"{margins}[:, {BLOCK}]", f"{margins}[{BLOCK}]", f"float32[:, {CLASS_FIELDS}, {BLOCK}]"
    rows = "float32[:]", f"{margins}[:, :]{by_column}", "int64", "float32[:]"
    out = "float32[:]" if formula == "focal_loss" else f"float32[:, :]{by_column}"
    signature = (
        "int64[:]", "int64", *buffers, f"float32[{ROW_FIELDS}, {BLOCK}]", *rows,
        "float32[:]", "float32", "float32", out, out, "int64",
    )  # fmt: skip
    return Kernel("softmax_loops", (formula, gamma, weighted), signature)


def forget() -> None:
    _kernel.cache_clear()


def _buffers(n_classes: int, dtype: Any, block: int) -> tuple[Array, Array, Array, Array]:
    """Margins and the largest of them, and what belongs to each class and to the rows of a block.

    They hold zeros, and weights of one, so that surplus rows of the last block are accepted.
    """
    classes, row = np.zeros((n_classes, CLASS_FIELDS, block), np.float32), np.zeros((ROW_FIELDS, block), np.float32)
    row[0] = 1
    return np.zeros((n_classes, block), dtype), np.zeros(block, dtype), classes, row


def _run(
    formula: str,
    batch: Batch,
    alpha: NDArray[np.float64],
    gamma: float,
    max_step: float,
    out: list[Array],
    in_engine: bool,
) -> bool:
    """Apply a formula to every row, and put the results, of the margins' order, into `out`."""
    labels, margins, sample_weight = batch
    n, n_classes = margins.shape
    wide = not (margins.dtype.kind == "f" and margins.dtype.itemsize <= 4)
    constant = gamma if gamma in CONSTANTS else None
    kernel = _kernel(formula, constant, sample_weight is not None, order(margins), wide)
    alphas = alpha.astype(np.float32)
    scalars = gamma, 1 / max_step
    margin_type = np.float64 if wide else np.float32

    n_threads = threads.count(margins.size, in_engine)
    kernel.load()
    block = NUMPY_BLOCK if kernel.is_interpreted else BLOCK
    step = max(block, PIECE // n_classes // block * block)

    def whole(progress: threads.Progress) -> None:
        w = labels[:0] if sample_weight is None else sample_weight
        buffers = _buffers(n_classes, margin_type, block)
        kernel(progress, step, *buffers, labels, margins, 0, w, alphas, *scalars, out[0], out[-1], 0)

    def column(rows: Array, part: slice) -> Array:
        return rows[part] if is_plain(rows, np.float32) else _copied(rows[part], np.float32)

    def piece(part: slice) -> bool:
        progress, buffers = threads.begin(), _buffers(n_classes, margin_type, block)
        y = column(labels, part)
        w = y[:0] if sample_weight is None else column(sample_weight, part)
        if is_plain(margins, margin_type):
            z, z_start = margins, part.start
        else:
            z, z_start = _copied(margins[part], margin_type, order(margins)), 0
        kernel(progress, step, *buffers, y, z, z_start, w, alphas, *scalars, out[0], out[-1], part.start)
        return bool(progress[threads.INVALID])

    plain = is_plain(labels, np.float32) and is_plain(margins, margin_type)
    plain = plain and (sample_weight is None or is_plain(sample_weight, np.float32))
    return threads.run(whole if plain else threads.in_pieces(lambda: piece, n, step), n, n_threads)


def _copied(rows: Array, dtype: type[np.floating[Any]], layout: Any = "C") -> Array:
    result = np.empty(rows.shape, dtype, layout)
    copy_to(result, rows)
    return result


def gradient_hessian(
    batch: Batch,
    alpha: NDArray[np.float64],
    gamma: float,
    *,
    exact: bool,
    max_step: float,
    in_engine: bool = False,
    out: None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], bool]:
    """Weighted gradient and diagonal Hessian, in the margins' order, and whether to look for a bad value.

    Labels and sample weights have shape (n,), margins (n, K), alpha (K,). `out` is for devices, as in `elementwise`.
    """
    formula = "gradient_exact" if exact else "gradient_expected"
    gradient, hessian = (np.empty(batch.margins.shape, np.float32, order(batch.margins)) for _ in range(2))
    has_invalid = _run(formula, batch, alpha, gamma, max_step, [gradient, hessian], in_engine)
    return gradient, hessian, has_invalid


def losses(batch: Batch, alpha: NDArray[np.float64], gamma: float) -> tuple[NDArray[np.float32], bool]:
    """Weighted loss of each row, and whether to look for a bad value."""
    result = np.empty(batch.labels.size, np.float32)
    has_invalid = _run("focal_loss", batch, alpha, gamma, np.inf, [result], False)
    return result, has_invalid
