"""Python that writes LLVM's code: what is recorded does what it says, and the primitives are exact."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("llvmlite")

from boostfocal.kernels import arrays, cache, elementwise, llvm, simd, threads, ufuncs

Body = Callable[..., None]


def recorded(body: Body, *signature: str) -> cache.Kernel:
    """A kernel of such a body, which is not kept."""
    kernel = cache.Kernel("", (), signature)
    code = llvm.compiled(llvm.record(body, kernel._types, simd.Simd))
    kernel._call = kernel._caller(kernel._link(cache._llvm(), code))
    return kernel


def of_each(function: Callable[[Any], Any], numbers: np.ndarray) -> np.ndarray:
    """A function of lanes, of each number."""

    def body(t: Any, x: Any, out: Any) -> None:
        for i in t.lanes(x.size):
            out[i] = function(x[i])

    out = np.empty_like(numbers)
    recorded(body, "float32[:]", "float32[:]")(numbers, out)
    return out


# --- primitives ------------------------------------------------------------------------------------


def test_exp_is_exact_to_float32_and_zero_below_its_smallest() -> None:
    x = np.linspace(-87, 0, 300_001, dtype=np.float32)
    assert_allclose(of_each(simd.exp, x), np.exp(x.astype(float)), rtol=3e-7)
    assert_array_equal(of_each(simd.exp, np.float32([-87.01, -1e3, -1e30, -np.inf])), 0)


def test_log1p_is_exact_to_float32() -> None:
    x = np.concatenate([np.linspace(0, 1, 300_001), np.geomspace(1e-30, 1, 10_001)]).astype(np.float32)
    assert_allclose(of_each(simd.log1p, x), np.log1p(x.astype(float)), rtol=3e-7)


def test_log_and_log_total_are_exact_to_float32() -> None:
    x = np.geomspace(1e-37, 1e37, 300_001).astype(np.float32)
    assert_allclose(of_each(simd.log, x), np.log(x.astype(float)), rtol=3e-7, atol=3e-7)
    assert_allclose(of_each(simd.log_total, x), np.log1p(x.astype(float)), rtol=5e-7)


@pytest.mark.parametrize("gamma", [*np.arange(0, 8, 0.5), 0.3, 1.25, 8.0])
def test_power_is_the_power_with_and_without_an_exponential(gamma: float) -> None:
    def body(t: Any, q: Any, gammas: Any, out: Any) -> None:
        for i in t.lanes(q.size):
            constant = np.float32(gamma) if elementwise.in_halves(gamma) else gammas[i]
            out[i] = simd.power(q[i], simd.log(q[i]), constant)

    q = np.float32([1, 0.9, 0.3, 1e-3, 1e-4] * 7)
    out = np.empty_like(q)
    recorded(body, "float32[:]", "float32[:]", "float32[:]")(q, np.full_like(q, gamma), out)
    assert_allclose(out, q.astype(float) ** gamma, rtol=1e-6 if elementwise.in_halves(gamma) else 1e-5)
    assert elementwise.in_halves(gamma) == (gamma in np.arange(0, 8, 0.5))


def test_signs_tell_of_what_is_not_finite_and_of_nothing_else() -> None:
    def body(t: Any, progress: Any, x: Any, ceiling: Any) -> None:
        for start, stop, signs in t.claimed(progress, x.size, 4):
            part, limits = x[start:stop], ceiling[start:stop]
            for i in t.lanes(stop - start):
                signs.add(t.nonfinite(part[i]))
                signs.add_unless(part[i] <= limits[i])

    signature = "int64[:]", "float32[:]", "float32[:]"
    for target in (recorded(body, *signature), ufuncs.interpreted(body)):
        for place in range(11):
            for bad in (None, np.nan, np.inf, -np.inf, 2.0):
                x, ceiling, progress = np.zeros(11, np.float32), np.ones(11, np.float32), threads.begin()
                x[:3] = [-3.4e38, -0.0, 1e-45]
                if bad is not None:
                    x[place] = bad
                target(progress, x, ceiling)
                assert bool(progress[threads.INVALID]) == (bad is not None)
                assert progress[threads.DONE] == 11


# --- arrays and loops ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", ["C", "F"])
def test_rows_are_turned_into_columns_and_back_whatever_their_numbers(dtype: Any, layout: Any) -> None:
    kind, by_column = np.dtype(dtype).name, ".T" if layout == "F" else ""

    def fetch(t: Any, matrix: Any, start: Any, count: Any, to: Any) -> None:
        t.fetch(matrix, start, count, to)

    def store(t: Any, classes: Any, matrix: Any, start: Any, count: Any) -> None:
        t.store(classes, 1, matrix, start, count)

    fetching = recorded(fetch, f"{kind}[:, :]{by_column}", "int64", "int64", f"{kind}[:, 16]")
    storing = recorded(store, "float32[:, 2, 16]", f"float32[:, :]{by_column}", "int64", "int64")
    random = np.random.default_rng(0)
    for n_classes in (1, 2, 3, 4, 5, 7, 8, 13):
        matrix = np.array(random.normal(size=(20, n_classes)), dtype, order=layout)
        for count in (1, 2, 3, 4, 5, 8, 15, 16):
            to = np.full((n_classes, 16), 7, dtype)
            fetching(matrix, 3, count, to)
            assert_array_equal(to[:, :count], matrix[3 : 3 + count].T)
            assert (to[:, count:] == 7).all()

            classes = random.normal(size=(n_classes, 2, 16)).astype(np.float32)
            out = np.full((20, n_classes), 7, np.float32, layout)
            storing(classes, out, 2, count)
            assert_array_equal(out[2 : 2 + count], classes[:, 1, :count].T)
            assert (np.delete(out, np.s_[2 : 2 + count], axis=0) == 7).all()


def test_loops_take_as_many_turns_as_they_should() -> None:
    def body(t: Any, n: Any, turns: Any, parts: Any) -> None:
        for _ in t.loop(n):
            turns[0] = turns[0] + 1
        for begin, end in t.parts(0, n, 3):
            parts[0] = parts[0] + 1
            parts[1] = parts[1] + (end - begin)

    count = recorded(body, "int64", "int64[:]", "int64[:]")
    for n in (0, 1, 2, 3, 4, 10):
        turns, parts = np.zeros(1, np.int64), np.zeros(2, np.int64)
        count(n, turns, parts)
        assert (turns[0], *parts) == (n, -(-n // 3), n)


def test_lane_has_no_truth_while_code_is_written() -> None:
    def body(t: Any, x: Any) -> None:
        if x[0] > 0:
            x[0] = 0.0

    with pytest.raises(TypeError, match="use `where`"):
        recorded(body, "float32[:]")


def test_types_of_arguments_are_parsed() -> None:
    assert arrays.Type.parse("int64") == ("int64", None, False)
    assert arrays.Type.parse("float32[:]") == ("float32", (None,), False)
    assert arrays.Type.parse("float64[:, 5, 256]") == ("float64", (None, 5, 256), False)
    assert arrays.Type.parse("float32[:, :].T") == ("float32", (None, None), True)
