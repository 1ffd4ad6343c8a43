"""The loop over rows that `elementwise` runs; the simpler of the two kernels, to be read first.

It is written with the primitives of a target: `simd.Simd` makes LLVM code of it, `ufuncs.Ufuncs` computes with NumPy.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

PIECE = 16384  # rows that a thread takes at once, some 20 microseconds
BLOCK = 1024  # margins that the kernel makes float32 at once, in the first-level cache


def build(formula: str, gammas: tuple[float, float] | None, weighted: bool, wide: bool) -> Callable[..., None]:
    """The loop for a formula of `formulas`; with `gammas` as constants, which must be multiples of one half below 8.

    Every thread that calls it takes pieces of the rows until none is left. It tells if it met a value to refuse: it
    gathers the sign bits of y, 1 - y and the weight, and those of results that are not finite. `wide` takes
    float64 margins, and makes them float32 a block at a time: to convert them in the loop itself would halve
    its lanes. The loss has no Hessian, so `second` is not used.
    """
    valued = formula == "focal_loss"

    def kernel(
        t: Any, progress: Any, narrow: Any, y: Any, z: Any, w: Any,
        alpha0: Any, alpha1: Any, gamma0: Any, gamma1: Any, inverse_max_step: Any, first: Any, second: Any,
    ) -> None:  # fmt: skip
        row = t.formulas[formula]
        gamma = (gamma0, gamma1) if gammas is None else tuple(map(np.float32, gammas))
        for start, stop, signs in t.claimed(progress, z.size, PIECE):
            for begin, end in t.parts(start, stop, BLOCK if wide else PIECE):
                labels, margins = y[begin:end], z[begin:end]
                if wide:
                    for i in t.lanes(end - begin):
                        narrow[i] = margins[i]  # beyond float32 infinite, which is their limit
                    margins = narrow
                ones, others = first[begin:end], second[begin:end]
                for i in t.lanes(end - begin):
                    if valued:
                        one = row(labels[i], margins[i], alpha0, alpha1, *gamma)
                    else:
                        one, other = row(labels[i], margins[i], alpha0, alpha1, *gamma, inverse_max_step)
                    if weighted:
                        weight = w[begin:end][i]
                        one = one * weight
                        signs.add(t.bits(weight))
                    ones[i] = one
                    if not valued:
                        others[i] = other * weight if weighted else other
                    signs.add(t.nonfinite(one))
                    signs.add(t.bits(labels[i]))
                    signs.add(t.bits(1.0 - labels[i]))

    return kernel
