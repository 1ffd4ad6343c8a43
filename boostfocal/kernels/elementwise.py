"""Binary and multi-label rows on the CPU: each element has its own label and margin."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import lanes, threads
from .lanes import ONE, Rows, bits, compiled, copy_to, in_halves, is_plain, join, order, suspect
from .rows import RowParameters

CHUNK = 65536  # rows that are copied to a buffer at once: it stays in the second-level cache
BLOCK = 1024  # margins that the kernel makes float32 at once, in the first-level cache

Kernel = Callable[..., bool]


@lru_cache(maxsize=512)  # a sweep over gammas must not compile twice
def _kernel(formula: str, gammas: tuple[float, float] | None, weighted: bool, wide: bool = False) -> Kernel:
    """Compile the loop over rows; with `gammas`, which must be multiples of one half, as constants.

    The loop returns True if it met a value to refuse: it gathers the sign bits of y, 1 - y and the
    weight, and those of results that are not finite. `wide` takes float64 margins, and makes them
    float32 a block at a time: converted in the loop itself, they would halve its lanes.
    """
    row = lanes.formulas(halves=gammas is not None)[formula]
    constant = gammas is not None
    constant0, constant1 = (np.float32(gamma) for gamma in gammas or (0, 0))

    if formula == "values":

        @compiled
        def block(y, z, w, weight0, weight1, gamma0, gamma1, out):
            if constant:
                gamma0, gamma1 = constant0, constant1
            signs = np.int32(0)
            for i in range(z.size):
                value = row(y[i], z[i], weight0, weight1, gamma0, gamma1)
                if weighted:
                    value *= w[i]
                    signs = join(signs, bits(w[i]))
                out[i] = value
                signs = join(signs, join(suspect(value), join(bits(y[i]), bits(ONE - y[i]))))
            return signs < 0

        @compiled
        def blocks(y, z, w, weight0, weight1, gamma0, gamma1, out):
            margins = np.empty(BLOCK, np.float32)
            suspicious = False
            for start in range(0, z.size, BLOCK):
                part = slice(start, min(start + BLOCK, z.size))
                narrow = as_float32(z[part], margins)
                suspicious |= block(y[part], narrow, w[part], weight0, weight1, gamma0, gamma1, out[part])
            return suspicious

    else:

        @compiled
        def block(y, z, w, weight0, weight1, gamma0, gamma1, per_step, gradient, hessian):
            if constant:
                gamma0, gamma1 = constant0, constant1
            signs = np.int32(0)
            for i in range(z.size):
                slope, bend = row(y[i], z[i], weight0, weight1, gamma0, gamma1, per_step)
                if weighted:
                    slope *= w[i]
                    bend *= w[i]
                    signs = join(signs, bits(w[i]))
                gradient[i] = slope
                hessian[i] = bend
                signs = join(signs, join(suspect(slope), join(bits(y[i]), bits(ONE - y[i]))))
            return signs < 0

        @compiled
        def blocks(y, z, w, weight0, weight1, gamma0, gamma1, per_step, gradient, hessian):
            margins = np.empty(BLOCK, np.float32)
            suspicious = False
            for start in range(0, z.size, BLOCK):
                part = slice(start, min(start + BLOCK, z.size))
                narrow = as_float32(z[part], margins)
                suspicious |= block(
                    y[part], narrow, w[part], weight0, weight1, gamma0, gamma1, per_step, gradient[part], hessian[part]
                )
            return suspicious

    return blocks if wide else block


@compiled
def as_float32(z, buffer):
    """The margins as the formulas take them; beyond float32 they become infinite, which is their limit."""
    narrow = buffer[: z.size]
    for i in range(z.size):
        narrow[i] = z[i]
    return narrow


# --- running -------------------------------------------------------------------------------------


def _run(
    formula: str,
    inputs: tuple[Rows, Rows, Rows | None],
    parameters: tuple[RowParameters, ...],
    more: tuple[float, ...],
    n_out: int,
    in_engine: bool,
) -> tuple[list[NDArray[np.float32]], bool]:
    """Apply a formula to every element, column by column within pieces of rows that stay in the cache.

    `parameters` are those of each column, or of all.
    """
    labels, margins, weights = inputs
    out = [np.empty(margins.shape, np.float32, order=order(margins)) for _ in range(n_out)]
    columns = [_as_columns(array) for array in (labels, margins, *out)]
    if len(parameters) == 1 and weights is None:
        columns = _as_one(columns)
    y, z, *results = columns
    n_rows, n_columns = z.shape
    wide = z.dtype == np.float64 and is_plain(z[:, 0], np.float64)
    kernels = [_kernel(formula, _constants(p), weights is not None, wide) for p in parameters]
    scalars = [[np.float32(value) for value in (*p, *more)] for p in parameters]

    def new_worker() -> threads.Work:
        buffers: dict[int, Rows] = {}

        def lane(rows: Rows, index: int, copy: bool) -> Rows:
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
            found = False
            shared = None if weights is None else lane(weights[part], 2, copy=True)
            for column in range(n_columns):
                which = column if len(parameters) > 1 else 0
                rows_in = [lane(y[part, column], 0, copy=True), lane(z[part, column], 1, copy=True)]
                views = [array[part, column] for array in results]
                rows_out = [lane(view, 3 + i, copy=False) for i, view in enumerate(views)]
                w = rows_in[0][:1] if shared is None else shared
                found |= kernels[which](*rows_in, w, *scalars[which], *rows_out)
                for view, row in zip(views, rows_out, strict=True):
                    if row is not view:
                        view[:] = row
            return found

        return work

    n_threads = threads.count(z.size, in_engine)
    direct = [y[:, 0], *(array[:, 0] for array in results), *([] if weights is None else [weights])]
    plain = all(is_plain(array, np.float32) for array in direct) and is_plain(z[:, 0], np.float32, np.float64)
    step = threads.piece(n_rows, n_threads) if plain else CHUNK
    return out, threads.run(new_worker, n_rows, step, n_threads)


def _constants(parameters: RowParameters) -> tuple[float, float] | None:
    gammas = parameters[2:]
    return gammas if all(map(in_halves, gammas)) else None


def _as_columns(array: Rows) -> Rows:
    return array.reshape(-1, 1) if array.ndim == 1 else array


def _as_one(columns: list[Rows]) -> list[Rows]:
    """All elements as one column, if all arrays have them in one order."""
    if all(array.flags.c_contiguous for array in columns):
        return [array.reshape(-1, 1) for array in columns]
    if all(array.flags.f_contiguous for array in columns):
        return [array.T.reshape(-1, 1) for array in columns]
    return columns


def gradient_hessian(
    labels: Rows,
    margins: Rows,
    weights: Rows | None,
    parameters: tuple[RowParameters, ...],
    exact: bool,
    max_step: float,
    in_engine: bool = False,
) -> tuple[NDArray[np.float32], NDArray[np.float32], bool]:
    """Weighted gradient and Hessian, and whether to look for a bad value.

    Labels and margins have one shape, (n,) or (n, L), weights (n,); the results have the margins' order.
    """
    formula = "gradient_exact" if exact else "gradient_expected"
    inputs = (labels, margins, weights)
    (gradient, hessian), found = _run(formula, inputs, parameters, (1 / max_step,), 2, in_engine)
    return gradient, hessian, found


def losses(
    labels: Rows, margins: Rows, weights: Rows | None, parameters: tuple[RowParameters, ...]
) -> tuple[NDArray[np.float32], bool]:
    """Weighted loss of each element, and whether to look for a bad value."""
    (values,), found = _run("values", (labels, margins, weights), parameters, (), 1, in_engine=False)
    return values, found
