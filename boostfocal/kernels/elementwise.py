"""Binary and multilabel rows on the CPU: each element has its own label and margin."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..batch import Batch
from . import threads
from .arrays import Array, copy_to, is_plain, order
from .cache import Kernel
from .elementwise_loops import BLOCK
from .formulas import RowParameters
from .threads import INVALID, NEXT

CHUNK = 65536  # rows that are copied to a buffer at once: it stays in the second-level cache


@lru_cache(maxsize=512)  # a sweep over gammas must not load twice
def _kernel(formula: str, gammas: tuple[float, float] | None, weighted: bool, wide: bool = False) -> Kernel:
    floats, margins = "float32[:]", "float64[:]" if wide else "float32[:]"
    signature = ("int64[:]", floats, floats, margins, floats, *["float32"] * 5, floats, floats)
    return Kernel("elementwise_loops", (formula, gammas, weighted, wide), signature)


def in_halves(gamma: float) -> bool:
    """Whether q**gamma needs no exponential."""
    return gamma < 8 and (2 * gamma).is_integer()


@lru_cache(maxsize=512)
def _kernel_for(formula: str, parameters: RowParameters, weighted: bool, wide: bool) -> Kernel:
    gammas = parameters[2:]
    return _kernel(formula, gammas if all(map(in_halves, gammas)) else None, weighted, wide)


def forget() -> None:
    _kernel.cache_clear()
    _kernel_for.cache_clear()


# --- running -------------------------------------------------------------------------------------


def _run(
    formula: str,
    batch: Batch,
    parameters: tuple[RowParameters, ...],
    inverse_max_step: float,
    n_out: int,
    in_engine: bool,
) -> tuple[list[NDArray[np.float32]], bool]:
    """Apply a formula to every element. `parameters` are those of each column, or of all."""
    labels, margins, weights = batch
    out = [np.empty(margins.shape, np.float32, order(margins)) for _ in range(n_out)]
    arrays = [labels, margins, *out]
    if margins.ndim > 1 and len(parameters) == 1 and weights is None:
        arrays = _as_one(arrays)
    y, z, *results = arrays
    wide = is_plain(z, np.float64)
    if z.ndim == 1 and is_plain(y, np.float32) and (wide or is_plain(z, np.float32)) and _is_plain_or_none(weights):
        kernel = _kernel_for(formula, parameters[0], weights is not None, wide)
        w = y[:1] if weights is None else weights

        def whole(progress: threads.Progress) -> None:
            narrow = np.empty(BLOCK if wide else 0, np.float32)
            kernel(progress, narrow, y, z, w, *parameters[0], inverse_max_step, results[0], results[-1])

        return out, threads.run(whole, z.size, threads.count(z.size, in_engine))
    work = _in_pieces(formula, _as_columns([y, z, *results]), weights, parameters, inverse_max_step)
    return out, threads.run(work, len(z), threads.count(z.size, in_engine))


def _in_pieces(
    formula: str,
    columns: list[Array],
    weights: Array | None,
    parameters: tuple[RowParameters, ...],
    inverse_max_step: float,
) -> threads.Work:
    """Work on column after column within pieces of rows that stay in the cache, copied where the kernel needs it."""
    y, z, *results = columns
    n_rows, n_columns = z.shape
    wide = z.dtype == np.float64 and is_plain(z[:, 0], np.float64)
    kernels = [_kernel_for(formula, one, weights is not None, wide) for one in parameters]

    def new_worker() -> Callable[[slice], bool]:
        buffers: dict[int, Array] = {}
        progress, narrow = threads.begin(), np.empty(BLOCK, np.float32)

        def lane(rows: Array, index: int, copy: bool) -> Array:
            """The rows as the kernel takes them, if need be in a buffer."""
            if is_plain(rows, np.float64 if wide and index == 1 else np.float32):
                return rows
            if index not in buffers:
                buffers[index] = np.empty(CHUNK, np.float32)
            buffer = buffers[index][: rows.size]
            if copy:
                copy_to(buffer, rows)
            return buffer

        def work(part: slice) -> bool:
            progress[INVALID] = 0
            shared = None if weights is None else lane(weights[part], 2, copy=True)
            for column in range(n_columns):
                which = column if len(parameters) > 1 else 0
                rows_in = [lane(y[part, column], 0, copy=True), lane(z[part, column], 1, copy=True)]
                views = [array[part, column] for array in results]
                rows_out = [lane(view, 3 + i, copy=False) for i, view in enumerate(views)]
                w = rows_in[0][:1] if shared is None else shared
                progress[NEXT] = 0
                scalars = (*parameters[which], inverse_max_step)
                kernels[which](progress, narrow, *rows_in, w, *scalars, rows_out[0], rows_out[-1])
                for view, row in zip(views, rows_out, strict=True):
                    if row is not view:
                        view[:] = row
            return bool(progress[INVALID])

        return work

    return threads.in_pieces(new_worker, n_rows, CHUNK)


def _is_plain_or_none(weights: Array | None) -> bool:
    return weights is None or is_plain(weights, np.float32)


def _as_columns(arrays: list[Array]) -> list[Array]:
    return [array.reshape(-1, 1) if array.ndim == 1 else array for array in arrays]


def _as_one(arrays: list[Array]) -> list[Array]:
    """All elements as one row, if all arrays have them in the same order."""
    if all(array.flags.c_contiguous for array in arrays):
        return [array.reshape(-1) for array in arrays]
    if all(array.flags.f_contiguous for array in arrays):
        return [array.T.reshape(-1) for array in arrays]
    return arrays


def gradient_hessian(
    batch: Batch,
    parameters: tuple[RowParameters, ...],
    *,
    exact: bool,
    max_step: float,
    in_engine: bool = False,
    out: None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], bool]:
    """Weighted gradient and Hessian, and whether to look for a bad value.

    Labels and margins have one shape, (n,) or (n, L), sample weights (n,); the results have the margins' order.
    `out` is for devices, where memory is slow to allocate.
    """
    formula = "gradient_exact" if exact else "gradient_expected"
    (gradient, hessian), has_invalid = _run(formula, batch, parameters, 1 / max_step, 2, in_engine)
    return gradient, hessian, has_invalid


def losses(batch: Batch, parameters: tuple[RowParameters, ...]) -> tuple[NDArray[np.float32], bool]:
    """Weighted loss of each element, and whether to look for a bad value."""
    (values,), has_invalid = _run("focal_loss", batch, parameters, 0.0, 1, in_engine=False)
    return values, has_invalid
