"""The loop over rows that `elementwise` runs."""

from typing import Any

import numpy as np

from . import simd
from .claims import claim, complete
from .elementwise import BLOCK, PIECE
from .simd import ONE, bits, compiled, join, nonfinite


def build(formula: str, gammas: tuple[float, float] | None, weighted: bool, wide: bool) -> Any:
    """Compile the loop over rows; with `gammas`, which must be multiples of one half, as constants.

    Every thread that calls it takes pieces of the rows until none is left. It tells if it met a value to refuse: it
    gathers the sign bits of y, 1 - y and the weight, and those of results that are not finite. `wide` takes
    float64 margins, and makes them float32 a block at a time: converted in the loop itself, they would halve
    its lanes. The loss has no Hessian: `second` is not used.
    """
    row = simd.bound_formulas(halves=gammas is not None)[formula]
    constant, valued = gammas is not None, formula == "focal_loss"
    constant0, constant1 = (np.float32(gamma) for gamma in gammas or (0, 0))

    @compiled
    def block(y, z, w, alpha0, alpha1, gamma0, gamma1, inverse_max_step, first, second):
        if constant:
            gamma0, gamma1 = constant0, constant1
        signs = np.int32(0)
        for i in range(z.size):
            if valued:
                one = other = row(y[i], z[i], alpha0, alpha1, gamma0, gamma1)
            else:
                one, other = row(y[i], z[i], alpha0, alpha1, gamma0, gamma1, inverse_max_step)
            if weighted:
                one *= w[i]
                other *= w[i]
                signs = join(signs, bits(w[i]))
            first[i] = one
            if not valued:
                second[i] = other
            signs = join(signs, join(nonfinite(one), join(bits(y[i]), bits(ONE - y[i]))))
        return signs < 0

    at_once = BLOCK if wide else PIECE

    @compiled
    def pieces(progress, buffer, y, z, w, alpha0, alpha1, gamma0, gamma1, inverse_max_step, first, second):
        begin = claim(progress, PIECE)
        while begin < z.size:
            end = min(begin + PIECE, z.size)
            has_invalid = False
            for start in range(begin, end, at_once):
                part = slice(start, min(start + at_once, end))
                if wide:
                    narrow(z[part], buffer)
                    margins = buffer[: part.stop - start]
                else:
                    margins = z[part]
                has_invalid |= block(
                    y[part],
                    margins,
                    w[part],
                    alpha0,
                    alpha1,
                    gamma0,
                    gamma1,
                    inverse_max_step,
                    first[part],
                    second[part],
                )
            complete(progress, end - begin, has_invalid)
            begin = claim(progress, PIECE)

    return pieces


@compiled
def narrow(z, buffer):
    """The margins as the formulas take them; beyond float32 they become infinite, which is their limit."""
    for i in range(z.size):
        buffer[i] = z[i]
