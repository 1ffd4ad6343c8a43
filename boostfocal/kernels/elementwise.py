"""Binary and multi-label rows on the CPU: each element has its own label and margin."""

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from . import lanes, threads
from .lanes import ONE, Rows, bits, compiled, copy_to, in_halves, inner, is_plain, join, order, suspect
from .rows import RowParameters
from .threads import FOUND, NEXT, finish, take

PIECE = 16384  # rows that a thread takes at once, some 20 microseconds
CHUNK = 65536  # rows that are copied to a buffer at once: it stays in the second-level cache
BLOCK = 1024  # margins that the kernel makes float32 at once, in the first-level cache

Kernel = Callable[..., None]


@lru_cache(maxsize=512)  # a sweep over gammas must not compile twice
def _kernel(formula: str, gammas: tuple[float, float] | None, weighted: bool, wide: bool = False) -> Kernel:
    """Compile the loop over rows; with `gammas`, which must be multiples of one half, as constants.

    Every thread that calls it takes pieces of the rows until none is left. It tells if it met a value to refuse: it
    gathers the sign bits of y, 1 - y and the weight, and those of results that are not finite. `wide` takes
    float64 margins, and makes them float32 a block at a time: converted in the loop itself, they would halve
    its lanes. The values' formula has no Hessian: `second` is not used.
    """
    row = lanes.formulas(halves=gammas is not None)[formula]
    constant = gammas is not None
    constant0, constant1 = (np.float32(gamma) for gamma in gammas or (0, 0))

    if formula == "values":

        @inner
        def block(y, z, w, weight0, weight1, gamma0, gamma1, per_step, first, second):
            if constant:
                gamma0, gamma1 = constant0, constant1
            signs = np.int32(0)
            for i in range(z.size):
                value = row(y[i], z[i], weight0, weight1, gamma0, gamma1)
                if weighted:
                    value *= w[i]
                    signs = join(signs, bits(w[i]))
                first[i] = value
                signs = join(signs, join(suspect(value), join(bits(y[i]), bits(ONE - y[i]))))
            return signs < 0

    else:

        @inner
        def block(y, z, w, weight0, weight1, gamma0, gamma1, per_step, first, second):
            if constant:
                gamma0, gamma1 = constant0, constant1
            signs = np.int32(0)
            for i in range(z.size):
                slope, bend = row(y[i], z[i], weight0, weight1, gamma0, gamma1, per_step)
                if weighted:
                    slope *= w[i]
                    bend *= w[i]
                    signs = join(signs, bits(w[i]))
                first[i] = slope
                second[i] = bend
                signs = join(signs, join(suspect(slope), join(bits(y[i]), bits(ONE - y[i]))))
            return signs < 0

    narrowed, at_once = (_as_float32, BLOCK) if wide else (_as_they_are, PIECE)

    @compiled
    def pieces(progress, buffer, y, z, w, weight0, weight1, gamma0, gamma1, per_step, first, second):
        begin = take(progress, PIECE)
        while begin < z.size:
            end = min(begin + PIECE, z.size)
            found = False
            for start in range(begin, end, at_once):
                part = slice(start, min(start + at_once, end))
                found |= block(
                    y[part], narrowed(z[part], buffer), w[part], weight0, weight1, gamma0, gamma1, per_step,
                    first[part], second[part],
                )  # fmt: skip
            finish(progress, end - begin, found)
            begin = take(progress, PIECE)

    return pieces


@inner
def _as_they_are(z, buffer):
    return z


@inner
def _as_float32(z, buffer):
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
    per_step: float,
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
    scalars = [[np.float32(value) for value in (*p, per_step)] for p in parameters]

    plain = all(is_plain(array[:, 0], np.float32) for array in (y, *results)) and (
        wide or is_plain(z[:, 0], np.float32)
    )
    plain = plain and (weights is None or is_plain(weights, np.float32))

    def whole(progress: threads.Progress) -> None:
        """Of one column that the kernel takes as it is."""
        w = y[:1, 0] if weights is None else weights
        kernels[0](
            progress, np.empty(BLOCK, np.float32), y[:, 0], z[:, 0], w, *scalars[0], results[0][:, 0], results[-1][:, 0]
        )

    def new_worker() -> Callable[[slice], bool]:
        buffers: dict[int, Rows] = {}
        progress, narrow = threads.begin(), np.empty(BLOCK, np.float32)

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
            progress[FOUND] = 0
            shared = None if weights is None else lane(weights[part], 2, copy=True)
            for column in range(n_columns):
                which = column if len(parameters) > 1 else 0
                rows_in = [lane(y[part, column], 0, copy=True), lane(z[part, column], 1, copy=True)]
                views = [array[part, column] for array in results]
                rows_out = [lane(view, 3 + i, copy=False) for i, view in enumerate(views)]
                w = rows_in[0][:1] if shared is None else shared
                progress[NEXT] = 0
                kernels[which](progress, narrow, *rows_in, w, *scalars[which], rows_out[0], rows_out[-1])
                for view, row in zip(views, rows_out, strict=True):
                    if row is not view:
                        view[:] = row
            return bool(progress[FOUND])

        return work

    work = whole if plain and n_columns == 1 else threads.in_pieces(new_worker, n_rows, CHUNK)
    return out, threads.run(work, n_rows, threads.count(z.size, in_engine))


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
    (gradient, hessian), found = _run(formula, inputs, parameters, 1 / max_step, 2, in_engine)
    return gradient, hessian, found


def losses(
    labels: Rows, margins: Rows, weights: Rows | None, parameters: tuple[RowParameters, ...]
) -> tuple[NDArray[np.float32], bool]:
    """Weighted loss of each element, and whether to look for a bad value."""
    (values,), found = _run("values", (labels, margins, weights), parameters, 0.0, 1, in_engine=False)
    return values, found
