"""How the threads of a kernel share its rows, in compiled code: each claims pieces of them until none is left."""

from typing import Any

from numba import types
from numba.extending import intrinsic

from .simd import compiled
from .threads import DONE, INVALID, NEXT, Progress


def _add(context: Any, array: Any, index: Any, value: Any) -> Any:
    """Add to an element in one step that no other thread can come between. Returns what it was before."""

    def generate(target: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = target.make_array(signature.args[0])(target, builder, arguments[0]).data
        return builder.atomic_rmw("add", builder.gep(data, [arguments[1]]), arguments[2], "seq_cst")

    return types.int64(array, types.intp, types.int64), generate


_fetch_add: Any = intrinsic(_add)


@compiled
def claim(progress: Progress, step: int) -> int:
    """The first of `step` rows that no thread has taken yet; past the end if there are none."""
    return _fetch_add(progress, NEXT, step)


@compiled
def complete(progress: Progress, n_rows: int, has_invalid: bool) -> None:
    if has_invalid:
        progress[INVALID] = 1
    _fetch_add(progress, DONE, n_rows)
