"""The loop over rows that `elementwise` runs."""

from typing import Any

import numpy as np

from . import lanes
from .claims import finish, take
from .elementwise import BLOCK, PIECE
from .lanes import ONE, bits, compiled, join, suspect


def build(formula: str, gammas: tuple[float, float] | None, weighted: bool, wide: bool) -> Any:
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

        @compiled
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

        @compiled
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

    at_once = BLOCK if wide else PIECE

    @compiled
    def pieces(progress, buffer, y, z, w, weight0, weight1, gamma0, gamma1, per_step, first, second):
        begin = take(progress, PIECE)
        while begin < z.size:
            end = min(begin + PIECE, z.size)
            found = False
            for start in range(begin, end, at_once):
                part = slice(start, min(start + at_once, end))
                if wide:
                    narrow(z[part], buffer)
                    margins = buffer[: part.stop - start]
                else:
                    margins = z[part]
                found |= block(
                    y[part], margins, w[part], weight0, weight1, gamma0, gamma1, per_step, first[part], second[part]
                )
            finish(progress, end - begin, found)
            begin = take(progress, PIECE)

    return pieces


@compiled
def narrow(z, buffer):
    """The margins as the formulas take them; beyond float32 they become infinite, which is their limit."""
    for i in range(z.size):
        buffer[i] = z[i]
