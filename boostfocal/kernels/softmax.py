"""Rows of K classes on the CPU, in O(K) a row: loops over rows inside loops over classes.

Read `elementwise` first: this is the same loop with a second axis. The softmax focal loss of a row is the binary one in
the log odds of its class, so the formulas are the same, too.

XGBoost's arrays have the classes of a row side by side, LightGBM's the rows of a class. The kernels work on small
blocks of the second kind, which stay in the nearest caches, and copy either kind to and from them. All that belongs
to a block's rows lies in one buffer, and all that belongs to a class in another, at compiled offsets:
LLVM then sees that nothing overlaps, and makes SIMD code. `softmax_loops` names the fields:

    row buffer, BLOCK numbers each      WEIGHT LABEL TOP OTHERS THIRDS INVERSE LOG_TOTAL OWN_SHIFT OWN_E OWN_ALPHA PSI
                                        CURVATURE RATIO PER_OTHERS
    used again for the posterior        TOP_ALPHA in CURVATURE, PSI_OVER_Q_TOP in OWN_SHIFT, EXCESS_TOP in OWN_E,
                                        TOTAL in OWN_ALPHA, EXCESS_SUM in THIRDS
    a class's buffer, likewise          SHIFT E CLASS_CURVATURE ETA EXCESS; at the end GRADIENT in SHIFT,
                                        HESSIAN in CLASS_CURVATURE

TOP is the class of the largest margin, OTHERS the sum of the others' exponentials, OWN_ what is of the true class.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..batch import Batch
from . import threads
from .arrays import Array, copy_to, is_plain, order
from .cache import Kernel

BLOCK = 256  # rows
PIECE = 65536  # elements that a thread takes at once
ROW_FIELDS, CLASS_FIELDS = 14, 5  # of the buffers, each of a block's rows; the first of a row is its weight

COMPILED = (0.0, 1.0, 2.0)  # gammas that get a kernel of their own: it takes two seconds to make and saves a quarter


@lru_cache(maxsize=256)
def _kernel(formula: str, gamma: float | None, layout: str, wide: bool) -> Kernel:
    matrix, margins = ("[::1, :]" if layout == "F" else "[:, ::1]"), "float64" if wide else "float32"
    buffers = f"{margins}[:, ::1]", f"{margins}[::1]", "float32[:, ::1]", "float32[::1]"
    inputs = "float32[::1]", margins + matrix, "int64", "float32[::1]"
    out = "float32[::1]" if formula == "focal_loss" else "float32" + matrix
    signature = ("int64[::1]", "int64", *buffers, *inputs, "float32[::1]", "float32", "float32", out, out, "int64")
    return Kernel("softmax_loops", (formula, gamma, layout), signature)


def _buffers(n_classes: int, dtype: Any) -> tuple[Array, Array, Array, Array]:
    """Margins and the largest of them, and what belongs to each class and to the rows of a block.

    Zeros, and weights of one: what the last block may have too many are rows to accept. (Made here, since code that
    allocates takes Numba longer to compile.)
    """
    classes, row = np.zeros((n_classes, CLASS_FIELDS * BLOCK), np.float32), np.zeros(ROW_FIELDS * BLOCK, np.float32)
    row[:BLOCK] = 1
    return np.zeros((n_classes, BLOCK), dtype), np.zeros(BLOCK, dtype), classes, row


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
    kernel = _kernel(formula, gamma if gamma in COMPILED else None, order(margins), wide)
    alphas = alpha.astype(np.float32)
    scalars = np.float32(gamma), np.float32(1 / max_step)
    margin_type = np.float64 if wide else np.float32

    n_threads = threads.count(margins.size, in_engine)
    step = max(BLOCK, PIECE // n_classes // BLOCK * BLOCK)

    def whole(progress: threads.Progress) -> None:
        w = labels[:0] if sample_weight is None else sample_weight
        buffers = _buffers(n_classes, margin_type)
        kernel(progress, step, *buffers, labels, margins, 0, w, alphas, *scalars, out[0], out[-1], 0)

    def column(rows: Array, part: slice) -> Array:
        return rows[part] if is_plain(rows, np.float32) else _copied(rows[part], np.float32)

    def piece(part: slice) -> bool:
        progress, buffers = threads.begin(), _buffers(n_classes, margin_type)
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
