"""The compiled kernels of binary rows: any array layout, any number of rows and threads, and no copy of the data."""

import tracemalloc
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from boostfocal import FocalLoss
from boostfocal.kernels import elementwise, threads
from boostfocal.kernels.formulas import RowParameters

LOSS = FocalLoss(2.0, 0.25)
N = 1000

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def rows(n: int, seed: int = 0) -> Rows:
    """Labels 0 and 1, margins and weights that float16 holds exactly, so that a dtype changes no value."""
    rng = np.random.default_rng(seed)
    labels = (rng.uniform(size=n) < 0.1).astype(np.float32)
    margins, weights = rng.normal(scale=4, size=n), rng.integers(0, 32, size=n) / 8
    return labels, margins.astype(np.float16).astype(np.float32), weights.astype(np.float32)


def assert_identical(result: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> None:
    for left, right in zip(result, expected, strict=True):
        assert left.dtype == right.dtype == np.float32
        assert_array_equal(left, right)


# --- what arrays may look like ---------------------------------------------------------------------


def unaligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)
    memory[1:] = np.frombuffer(array.tobytes(), np.uint8)
    return memory[1:].view(array.dtype)


def read_only(array: np.ndarray) -> np.ndarray:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "contiguous": np.array,
    "strided": lambda array: np.repeat(array, 3)[::3],
    "reversed": lambda array: array[::-1].copy()[::-1],
    "read-only": read_only,
    "column of a C matrix": lambda array: np.stack([array, array + 1], axis=1)[:, 0],
    "column of a Fortran matrix": lambda array: np.asfortranarray(np.stack([array, array + 1], axis=1))[:, 0],
    "unaligned": unaligned,
    "list": lambda array: array.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", ">f8", "f2"])
def test_layout_and_byte_order_do_not_change_the_result(layout: str, dtype: str) -> None:
    arrays = rows(N)
    changed = [LAYOUTS[layout](array.astype(dtype)) for array in arrays]
    assert_identical(LOSS.gradient_hessian(*changed), LOSS.gradient_hessian(*arrays))
    assert LOSS.mean(*changed) == LOSS.mean(*arrays)


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i4", "i8", ">i8", "u8", "f2", "f4", "f8"])
def test_label_dtype_does_not_change_the_result(dtype: str) -> None:
    labels, margins, _ = rows(N)
    assert_identical(LOSS.gradient_hessian(labels.astype(dtype), margins), LOSS.gradient_hessian(labels, margins))
    assert_array_equal(LOSS.value(labels.astype(dtype), margins), LOSS.value(labels, margins))
    assert LOSS.optimal_margin(labels.astype(dtype)) == LOSS.optimal_margin(labels)
    assert FocalLoss.balanced(labels.astype(dtype)) == FocalLoss.balanced(labels)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i8"])
def test_weight_dtype_does_not_overflow(dtype: str) -> None:
    labels, margins, _ = rows(N)
    weights = np.random.default_rng(0).integers(0, 128, N)
    narrow = weights.astype(dtype)
    assert_identical(
        LOSS.gradient_hessian(labels.astype(dtype), margins, narrow), LOSS.gradient_hessian(labels, margins, weights)
    )
    assert LOSS.mean(labels, margins, narrow) == LOSS.mean(labels, margins, weights)
    expected = LOSS.optimal_margin(labels, weights.astype(np.float64))
    assert LOSS.optimal_margin(labels.astype(dtype), narrow) == pytest.approx(expected, rel=1e-12)


def test_many_float16_labels_and_weights_are_summed_in_float64() -> None:
    labels = np.tile(np.array([0, 1], np.float16), 100_000)
    assert LOSS.optimal_margin(labels, np.ones(labels.size, np.float16)) == LOSS.margin(0.5)


def test_integer_margins_are_numbers() -> None:
    assert_identical(LOSS.gradient_hessian([0, 1], np.array([3, -3])), LOSS.gradient_hessian([0, 1], [3.0, -3.0]))
    assert_array_equal(LOSS.predict_proba(np.array([3, -3])), LOSS.predict_proba([3.0, -3.0]))


def test_pandas_series_are_taken_by_position() -> None:
    pd = pytest.importorskip("pandas")
    labels, margins, weights = rows(N)
    backwards = np.arange(N)[::-1]
    series = [
        pd.Series(labels.astype(np.int64), index=backwards),
        pd.Series(margins),
        pd.Series(weights, index=backwards),
    ]
    assert_identical(LOSS.gradient_hessian(*series), LOSS.gradient_hessian(labels, margins, weights))
    assert LOSS.optimal_margin(series[0], series[2]) == LOSS.optimal_margin(labels, weights)


def test_inputs_are_never_written(n_threads: int) -> None:
    arrays = rows(300_000)
    before = [array.tobytes() for array in arrays]
    guarded = [read_only(array) for array in arrays]
    labels, margins, _ = guarded
    for hessian in ("expected", "exact"):
        loss = FocalLoss(2.0, 0.25, hessian)
        assert_identical(loss.gradient_hessian(*guarded), loss.gradient_hessian(*arrays))
    LOSS.mean(*arrays)
    LOSS.value(*arrays[:2])
    LOSS.predict_proba(arrays[1])
    LOSS.optimal_margin(arrays[0], arrays[2])
    FocalLoss.balanced(arrays[0], sample_weight=arrays[2])
    LOSS.value(labels, margins)
    LOSS.predict_proba(margins)
    assert [array.tobytes() for array in arrays] == before


def test_results_do_not_share_memory_with_inputs_or_each_other() -> None:
    labels, margins, weights = rows(N)
    gradient, hessian = LOSS.gradient_hessian(labels, margins, weights)
    everything = [gradient, hessian, labels, margins, weights]
    assert not any(np.shares_memory(left, right) for i, left in enumerate(everything) for right in everything[i + 1 :])
    again = LOSS.gradient_hessian(labels, margins, weights)
    gradient[:] = 0
    assert again[0].any()


# --- chunks and threads ----------------------------------------------------------------------------

SIZES = [
    1,
    2,
    7,
    8,
    9,
    1000,
    elementwise.CHUNK - 1,
    elementwise.CHUNK,
    elementwise.CHUNK + 1,
    2 * elementwise.CHUNK + 17,
    5 * elementwise.CHUNK + 3,
]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("weighted", [False, True])
def test_any_number_of_rows_equals_the_rows_one_by_one(n: int, weighted: bool, n_threads: int) -> None:
    block = 251  # a prime: chunks and SIMD lanes never start at the same row of the pattern
    pattern = [array[:block] for array in rows(block)]
    # float64, so that every chunk is copied through the buffers
    tiled = [np.resize(array.astype(np.float64), n) for array in pattern]
    singles = [
        np.concatenate(column)
        for column in zip(
            *(
                LOSS.gradient_hessian(*(a[i : i + 1] for a in (pattern if weighted else pattern[:2])))
                for i in range(block)
            ),
            strict=True,
        )
    ]
    result = LOSS.gradient_hessian(*(tiled if weighted else tiled[:2]))
    for column, single in zip(result, singles, strict=True):
        # a fused multiply-add in the SIMD loop and none in its scalar rest differ in the last bit
        assert_allclose(column, np.resize(single, n), rtol=1e-6)


@pytest.mark.parametrize("hessian", ["expected", "exact"])
@pytest.mark.parametrize("gamma", [2.0, 0.3])
def test_threads_give_the_result_of_one_thread_bit_for_bit(
    gamma: float, hessian: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = rows(777_777)
    loss = FocalLoss(gamma, 0.25, hessian)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    results = []
    for cpus in (1, 2, 5):
        monkeypatch.setattr(threads, "cpus", lambda cpus=cpus: cpus)
        assert threads.count(arrays[0].size) == cpus
        results.append((*loss.gradient_hessian(*arrays), np.float32(loss.mean(*arrays))))
    for result in results[1:]:
        for left, right in zip(result, results[0], strict=True):
            assert left.tobytes() == right.tobytes()


def test_number_of_threads_follows_the_rows_and_the_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "cpus", lambda: 8)
    sizes = [1, threads.PER_THREAD, 2 * threads.PER_THREAD, 10 * threads.PER_THREAD]
    assert [threads.count(n) for n in sizes] == [1, 1, 2, 8]
    assert all(threads.count(a) <= threads.count(b) for a, b in pairwise(range(0, 10**6, 50_000)))
    monkeypatch.setattr(threads, "cpus", lambda: 3)
    assert threads.count(10**7) == 3


def test_number_of_cpus_is_what_the_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    joblib = pytest.importorskip("joblib")
    monkeypatch.delenv("LOKY_MAX_CPU_COUNT")  # which the tests set, and joblib obeys
    assert threads.cpus.__wrapped__() == joblib.cpu_count()
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert threads.cpus.__wrapped__() == 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", 1), ("3", 3), ("99", 8), ("2,4", 2), (" 5 ", 5), ("", 8), ("0", 8), ("-2", 8), ("many", 8)],
)
def test_number_of_threads_follows_omp_num_threads(value: str, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cpus", lambda: 8)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads.count(10**7) == expected


@pytest.mark.parametrize("label_dtype", [np.int64, np.float32])
def test_memory_is_the_two_results_and_a_few_buffers(label_dtype: type, n_threads: int) -> None:
    n = 2_000_000
    margins, labels = np.linspace(-6, 6, n), np.zeros(n, label_dtype)
    LOSS.gradient_hessian(labels, margins)  # compiled, threads started
    tracemalloc.start()
    try:
        gradient, hessian = LOSS.gradient_hessian(labels, margins)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    results = gradient.nbytes + hessian.nbytes
    assert results <= peak < results + 2_000_000


# --- the formulas as compiled ----------------------------------------------------------------------


def test_gamma_0_is_logistic_loss() -> None:
    margins = np.linspace(-80, 80, 2001)
    sigmoid = 1 / (1 + np.exp(-margins))
    opposite = 1 / (1 + np.exp(margins))
    for label in (0, 1):
        for hessian in ("expected", "exact"):
            loss = FocalLoss(0, None, hessian, max_step=np.inf)
            gradient, curvature = loss.gradient_hessian(np.full(margins.size, label), margins)
            # float32 rounds a margin of 80 by 4e-6, and the exponential by as much relative
            assert_allclose(gradient, -opposite if label else sigmoid, rtol=5e-6)
            assert_allclose(curvature, sigmoid * opposite, rtol=5e-6)


@pytest.mark.parametrize("gammas", [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (2.0, 2.0), (4.0, 0.0), (0.0, 1.5), (5.0, 5.0)])
@pytest.mark.parametrize("formula", ["gradient_expected", "gradient_exact"])
def test_constant_half_integer_gamma_agrees_with_the_general_power(formula: str, gammas: tuple[float, float]) -> None:
    margins = np.linspace(-30, 30, 2001, dtype=np.float32)
    parameters: RowParameters = (0.75, 0.25, *gammas)
    scalars = [np.float32(value) for value in (*parameters, 0)]
    for label in (0, 1):
        labels = np.full(margins.size, label, np.float32)
        results = []
        for constants in (None, gammas):
            out = [np.empty_like(margins) for _ in range(2)]
            progress = threads.begin()
            kernel = elementwise._kernel(formula, constants, False)
            kernel(progress, labels[:0], labels, margins, labels[:1], *scalars, *out)
            assert not progress[threads.INVALID]
            results.append(out)
        (general, general_hessian), (constant, constant_hessian) = results
        matters = np.abs(constant) > 1e-6
        assert_allclose(general[matters], constant[matters], rtol=2e-6)
        assert_allclose(general[~matters], constant[~matters], rtol=1e-5, atol=1e-30)
        # the exact Hessian changes its sign: there its terms cancel, and they are of the gradient's size
        scale = np.abs(constant) * (1 + max(gammas)) + np.abs(constant_hessian)
        assert (np.abs(general_hessian - constant_hessian) <= 2e-6 * scale + 1e-11).all()


@pytest.mark.parametrize("gamma", [50.0, 50.25, 200.0, 1000.0, (1000.0, 0.0), (0.0, 1000.0)], ids=str)
@pytest.mark.parametrize("alpha", [None, 0.01])
def test_very_large_gamma_gives_finite_results(gamma: Any, alpha: float | None) -> None:
    margins = np.concatenate([np.linspace(-120, 120, 4001), [-1e30, 1e30, -np.inf, np.inf]])
    for label in (0, 0.5, 1):
        labels = np.full(margins.size, label)
        gradient, hessian = FocalLoss(gamma, alpha).gradient_hessian(labels, margins)
        assert np.isfinite(gradient).all()
        assert np.isfinite(hessian).all()
        assert (hessian >= 0).all()
        for curvature in FocalLoss(gamma, alpha, "exact").gradient_hessian(labels, margins):
            assert np.isfinite(curvature).all()
    proba = FocalLoss(gamma, alpha).predict_proba(margins)
    assert np.isfinite(proba).all()
    assert_array_equal(proba[-2:], [0, 1])


@given(
    st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40),
    st.floats(0, 1),
    st.sampled_from([0.0, 2.0, 0.3, 3.7, 31.1, (0.7, 2.2)]),
    st.one_of(st.none(), st.floats(1e-3, 1 - 1e-3)),
    st.sampled_from([0.5, 10.0, np.inf]),
)
def test_any_margin_gives_finite_gradients_and_hessians_that_are_not_negative(
    margins: list[float], y: float, gamma: Any, alpha: float | None, max_step: float
) -> None:
    loss = FocalLoss(gamma, alpha, max_step=max_step)
    gradient, hessian = loss.gradient_hessian(np.full(len(margins), y), np.array(margins))
    assert np.isfinite(gradient).all()
    assert np.isfinite(hessian).all()
    assert (hessian >= 0).all()
