"""SoftmaxFocalLoss: its numbers against high-precision references, its values, what it refuses."""

import copy
import pickle
import re
import tracemalloc
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from boostfocal import Brier, FocalLoss, LogLoss, MacroAveragePrecision, SoftmaxFocalLoss
from boostfocal.kernels.softmax import BLOCK

GAMMAS = [0.0, 0.3, 1.0, 2.0, 5.0]
every_gamma = pytest.mark.parametrize("gamma", GAMMAS)


def uneven(n_classes: int) -> tuple[float, ...]:
    return tuple(np.random.default_rng(n_classes).uniform(0.05, 3, n_classes).tolist())


def rows(n: int = 500, n_classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    margins = rng.normal(scale=3, size=(n, n_classes)).astype(np.float32)
    return rng.integers(0, n_classes, n), margins, rng.exponential(size=n).astype(np.float32)


# --- against 50 digits -----------------------------------------------------------------------------


# Margins as XGBoost has them, and as LightGBM does. (Of a few gammas: every kind of array is compiled again for each.)
AS_XGBOOST, AS_LIGHTGBM = ("C", np.float32), ("F", np.float64)
every_gamma_as_the_engines = pytest.mark.parametrize(
    ("gamma", "order", "dtype"), [*((gamma, *AS_XGBOOST) for gamma in GAMMAS), (0.3, *AS_LIGHTGBM), (2.0, *AS_LIGHTGBM)]
)


@pytest.mark.parametrize("n_classes", [2, 3, 5, 20])
@every_gamma_as_the_engines
def test_derivatives_match_50_digit_reference(
    gamma: float, n_classes: int, order: Any, dtype: type[np.floating]
) -> None:
    alpha = uneven(n_classes)
    rng = np.random.default_rng(1)
    spreads = [1, 10, 100] if n_classes < 20 else [10, 100]
    margins = np.array([rng.uniform(-spread, spread, n_classes) for spread in spreads]).astype(dtype, order)
    references = [reference.class_row(tuple(map(float, row)), gamma, alpha) for row in margins]
    expected_loss = SoftmaxFocalLoss(n_classes, gamma, alpha, max_step=np.inf)
    exact_loss = SoftmaxFocalLoss(n_classes, gamma, alpha, "exact")
    assert_allclose(
        expected_loss.predict_proba(margins),
        [list(map(float, r.posterior)) for r in references],
        rtol=1e-9,
        atol=1e-290,
    )
    for label in range(n_classes) if n_classes < 20 else (0, 7, 19):
        labels = np.full(len(margins), label)
        gradient, hessian = expected_loss.gradient_hessian(labels, margins)
        gradient_again, exact = exact_loss.gradient_hessian(labels, margins)
        assert_allclose(gradient, gradient_again, rtol=1e-6, atol=1e-30)
        assert_allclose(
            expected_loss.value(labels, margins), [float(r.value[label]) for r in references], rtol=1e-12, atol=1e-290
        )
        for row, ref in enumerate(references):
            own, curve = abs(ref.gradient[label][label]), abs(ref.exact[label][label])
            for k in range(n_classes):
                right = float(ref.gradient[label][k])
                assert abs(gradient[row, k] - right) <= 1e-5 * abs(right) + 1e-30
                right = float(ref.expected[k])
                assert hessian[row, k] >= 0
                assert abs(hessian[row, k] - right) <= 1e-5 * right + 1e-30
                # the exact one's terms, by the chain rule through the log odds of the true class
                share = abs(ref.gradient[label][k]) / own
                terms = ref.terms[label] if k == label else own * share * (1 - share) + curve * share**2
                assert abs(exact[row, k] - float(ref.exact[label][k])) <= 1e-5 * float(terms) + 1e-30


@pytest.mark.parametrize("n_classes", [2, 4, 11])
@every_gamma
def test_gradients_are_differences_of_value(gamma: float, n_classes: int) -> None:
    labels, margins, _ = rows(40, n_classes)
    wide = margins.astype(np.float64)
    loss = SoftmaxFocalLoss(n_classes, gamma, uneven(n_classes), "exact")
    gradient, hessian = loss.gradient_hessian(labels, margins)
    step = 1e-4
    for k in range(n_classes):
        moved = np.zeros(n_classes)
        moved[k] = step
        below, here, above = (loss.value(labels, wide + sign * moved) for sign in (-1, 0, 1))
        assert_allclose(gradient[:, k], (above - below) / (2 * step), rtol=1e-4, atol=1e-6)
        assert_allclose(hessian[:, k], (above - 2 * here + below) / step**2, rtol=1e-3, atol=1e-5)


@every_gamma
@pytest.mark.parametrize("hessian", ["expected", "exact"])
@pytest.mark.parametrize("a", [0.1, 0.5, 0.8])
def test_two_classes_are_focal_loss_of_the_difference(gamma: float, hessian: Any, a: float) -> None:
    labels, margins, weights = rows(2000, 2)
    difference = (margins[:, 1].astype(np.float64) - margins[:, 0]).astype(np.float32)
    two, one = SoftmaxFocalLoss(2, gamma, (1 - a, a), hessian), FocalLoss(gamma, a, hessian)
    gradient, curvature = two.gradient_hessian(labels, margins, weights)
    slope, bend = one.gradient_hessian(labels, difference, weights)
    assert_allclose(gradient, np.stack([-slope, slope], axis=1), rtol=5e-6, atol=1e-9)
    scale = weights[:, np.newaxis] * 1e-6
    assert (np.abs(curvature - bend[:, np.newaxis]) <= scale + 5e-6 * np.abs(bend[:, np.newaxis])).all()
    assert_allclose(
        two.predict_proba(margins)[:, 1], one.predict_proba(margins[:, 1].astype(np.float64) - margins[:, 0]), rtol=1e-9
    )
    assert_allclose(
        two.value(labels, margins), one.value(labels, margins[:, 1].astype(np.float64) - margins[:, 0]), rtol=1e-9
    )
    start = two.optimal_margin(labels, weights)
    assert start[1] - start[0] == pytest.approx(one.optimal_margin(labels, weights), rel=1e-9)


# --- rows in any shape -----------------------------------------------------------------------------


@pytest.mark.parametrize("n_classes", [2, 3, 5, 10, 130, 1500])
@pytest.mark.parametrize("n", [1, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 44])
def test_any_number_of_rows_and_classes_equals_the_rows_one_by_one(n: int, n_classes: int) -> None:
    labels, margins, weights = rows(n, n_classes)
    loss = SoftmaxFocalLoss(n_classes, 2.0)
    gradient, hessian = loss.gradient_hessian(labels, margins, weights)
    for i in range(0, n, 17):
        one = loss.gradient_hessian(labels[i : i + 1], margins[i : i + 1], weights[i : i + 1])
        assert_allclose(one[0][0], gradient[i], rtol=1e-5)
        assert_allclose(one[1][0], hessian[i], rtol=1e-5)
    assert_allclose(gradient.sum(axis=1), 0, atol=1e-5)


LAYOUTS: dict[str, Any] = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "strided": lambda array: np.repeat(array, 2, axis=0)[::2],
    "reversed": lambda array: array[::-1].copy()[::-1],
    "list": lambda array: array.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f4", ">f8", "f2"])
def test_layout_and_byte_order_do_not_change_the_result(layout: str, dtype: str) -> None:
    labels, margins, weights = rows()
    margins, weights = margins.astype(np.float16).astype(np.float32), weights.astype(np.float16).astype(np.float32)
    loss = SoftmaxFocalLoss(4, 2.0)
    plain = loss.gradient_hessian(labels, margins, weights)
    changed = [LAYOUTS[layout](array.astype(dtype)) for array in (labels, margins, weights)]
    for left, right in zip(loss.gradient_hessian(*changed), plain, strict=True):
        assert left.dtype == np.float32
        assert left.flags.f_contiguous == (layout == "Fortran")
        assert_allclose(left, right, rtol=2e-6, atol=1e-12)
    assert loss.mean(*changed) == pytest.approx(loss.mean(labels, margins, weights), rel=1e-6)
    assert loss.mean(labels, margins, weights) == pytest.approx(
        np.average(loss.value(labels, margins), weights=weights), rel=1e-6
    )


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_and_copies_give_the_result_of_one_thread(order: Any, dtype: type, n_threads: int) -> None:
    labels, margins, weights = rows(70_001, 6)
    loss = SoftmaxFocalLoss(6, 2.0, uneven(6))
    shaped = np.array(margins, dtype, order=order)
    before = [array.tobytes() for array in (labels, shaped, weights)]
    whole = loss.gradient_hessian(labels, shaped, weights)
    for part in (slice(0, 1000), slice(34_900, 35_200), slice(69_000, None)):
        expected = loss.gradient_hessian(labels[part], shaped[part], weights[part])
        for left, right in zip(whole, expected, strict=True):
            assert_allclose(left[part], right, rtol=1e-5, atol=1e-12)
    assert before == [array.tobytes() for array in (labels, shaped, weights)]


@pytest.mark.parametrize(("order", "dtype"), [("C", np.float32), ("F", np.float64)], ids=["XGBoost", "LightGBM"])
def test_memory_is_the_two_results_and_small_buffers(
    order: Any, dtype: type, n_threads: int, request: pytest.FixtureRequest
) -> None:
    labels, margins, _ = rows(200_000, 10)
    labels, margins = labels.astype(np.float32), np.array(margins, dtype, order=order)
    loss = SoftmaxFocalLoss(10)
    loss.gradient_hessian(labels, margins)  # compiled, threads started
    tracemalloc.start()
    try:
        gradient, hessian = loss.gradient_hessian(labels, margins)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    on_numpy = request.config.getoption("--without-compiler")
    assert peak < gradient.nbytes + hessian.nbytes + (4_000_000 if on_numpy else 1_000_000)


@every_gamma_as_the_engines
@pytest.mark.parametrize("far", [1e4, 1e30, 1e38, np.inf])
def test_far_margins_give_limits(gamma: float, order: Any, dtype: type[np.floating], far: float) -> None:
    margins = np.array([[far, -far, 0.0], [0.0, far, far], [-far, -far, -far], [far, far, far]], dtype, order=order)
    for label in range(3):
        for hessian in ("expected", "exact"):
            loss = SoftmaxFocalLoss(3, gamma, None, hessian)
            gradient, curvature = loss.gradient_hessian(np.full(4, label), margins)
            assert np.isfinite(curvature).all()
            assert_allclose(
                gradient[0], [0, 0, 0] if label == 0 else np.array([1, -1, 0] if label == 1 else [1, 0, -1]), atol=1e-6
            )
            if hessian == "expected":
                assert (curvature >= 0).all()
    proba = SoftmaxFocalLoss(3, gamma).predict_proba(margins)
    assert_allclose(proba, [[1, 0, 0], [0, 0.5, 0.5], [1 / 3] * 3, [1 / 3] * 3], atol=1e-12)


def test_a_constant_in_a_row_changes_nothing() -> None:
    labels, margins, _ = rows()
    loss = SoftmaxFocalLoss(4, 2.0)
    moved = margins.astype(np.float64) + 1e6
    for left, right in zip(loss.gradient_hessian(labels, moved), loss.gradient_hessian(labels, margins), strict=True):
        assert_allclose(left, right, rtol=1e-5, atol=1e-9)
    assert_allclose(loss.predict_proba(moved), loss.predict_proba(margins), rtol=1e-8)


@given(
    st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=3, max_size=3), min_size=1, max_size=20),
    st.integers(0, 2),
    st.sampled_from([0.0, 2.0, 0.3, 31.1, 200.0]),
    st.one_of(st.none(), st.tuples(*[st.floats(1e-3, 1e3)] * 3)),
    st.sampled_from([0.5, 10.0, np.inf]),
)
def test_any_margin_gives_finite_gradients_and_hessians_that_are_not_negative(
    margins: list[list[float]], label: int, gamma: float, alpha: tuple[float, ...] | None, max_step: float
) -> None:
    loss = SoftmaxFocalLoss(3, gamma, alpha, max_step=max_step)
    gradient, hessian = loss.gradient_hessian(np.full(len(margins), label), np.array(margins))
    assert np.isfinite(gradient).all()
    assert np.isfinite(hessian).all()
    assert (hessian >= 0).all()
    if max_step < np.inf:
        assert (np.abs(gradient) <= max_step * hessian * (1 + 1e-5) + 1e-37).all()
    proba = loss.predict_proba(np.array(margins))
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-12)


# --- the posterior ---------------------------------------------------------------------------------


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0, 50.0])
def test_extreme_alpha_gives_finite_derivatives(gamma: float) -> None:
    rng = np.random.default_rng(0)
    margins = rng.normal(scale=20, size=(500, 3))
    for alpha in ((1e15, 1e-15, 1.0), (1e-15, 1e15, 1e15), (1e-15, 1e-15, 1e15)):
        loss = SoftmaxFocalLoss(3, gamma, alpha)
        gradient, hessian = loss.gradient_hessian(rng.integers(0, 3, 500), margins)
        assert np.isfinite(gradient).all()
        assert np.isfinite(hessian).all()
        assert (hessian >= 0).all()


@every_gamma
@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_margins_of_least_expected_loss_map_to_the_class_probabilities(gamma: float, n_classes: int) -> None:
    loss = SoftmaxFocalLoss(n_classes, gamma, uneven(n_classes))
    classes = np.arange(n_classes)
    for truth in np.random.default_rng(0).dirichlet(np.ones(n_classes), 3):

        def mean(free: np.ndarray, truth: np.ndarray = truth) -> float:
            margins = np.tile(np.append(free, 0.0), (n_classes, 1))
            return float(truth @ loss.value(classes, margins))

        def slope(free: np.ndarray, truth: np.ndarray = truth) -> np.ndarray:
            margins = np.tile(np.append(free, 0.0), (n_classes, 1))
            step, found = 1e-6, []
            for k in range(n_classes - 1):
                moved = np.zeros(n_classes)
                moved[k] = step
                found.append(
                    truth @ (loss.value(classes, margins + moved) - loss.value(classes, margins - moved)) / (2 * step)
                )
            return np.array(found)

        best = minimize(mean, np.zeros(n_classes - 1), jac=slope, method="BFGS", options={"gtol": 1e-11}).x
        assert_allclose(loss.predict_proba(np.append(best, 0.0)), truth, atol=1e-6)


@every_gamma
def test_gradients_sum_to_zero_at_the_optimal_margin(gamma: float) -> None:
    rng = np.random.default_rng(0)
    labels, weights = rng.choice(4, 3000, p=[0.001, 0.2, 0.3, 0.499]), rng.exponential(size=3000)
    for loss in (
        SoftmaxFocalLoss(4, gamma),
        SoftmaxFocalLoss(4, gamma, uneven(4)),
        SoftmaxFocalLoss.balanced(labels, gamma),
    ):
        for weight in (None, weights):
            start = loss.optimal_margin(labels, weight)
            gradient, _ = loss.gradient_hessian(labels, np.tile(start, (3000, 1)), weight)
            magnitude = np.abs(gradient).sum(axis=0, dtype=np.float64)
            assert (np.abs(gradient.sum(axis=0, dtype=np.float64)) <= 1e-6 * magnitude).all()
            shares = np.bincount(labels, weight, 4)
            assert_allclose(loss.predict_proba(start), shares / shares.sum(), rtol=1e-8)


# --- alpha -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [None, 0.0, 0.9, 0.999])
def test_balanced_weighs_rows_1_on_average(beta: float | None) -> None:
    labels = np.repeat([0, 1, 2], [700, 40, 5])
    loss = SoftmaxFocalLoss.balanced(labels, 1.0, beta=beta)
    alpha = np.array(loss.alpha)
    assert alpha[labels].mean() == pytest.approx(1)
    n = np.array([700, 40, 5])
    effective = n if beta is None else (1 - beta**n) / (1 - beta)
    assert_allclose(alpha * effective, alpha[0] * effective[0])
    if beta is None:
        assert_allclose(alpha, 745 / (3 * n))
    assert loss == SoftmaxFocalLoss(3, 1.0, loss.alpha)


def test_balanced_weights_count_as_repeated_rows() -> None:
    labels, repeats = np.array([0, 1, 2, 2]), np.array([3, 2, 1, 4])
    weighted = SoftmaxFocalLoss.balanced(labels, sample_weight=repeats)
    assert weighted.alpha == pytest.approx(SoftmaxFocalLoss.balanced(np.repeat(labels, repeats)).alpha)


def test_balanced_of_two_classes_has_the_ratio_of_focal_loss() -> None:
    labels = np.repeat([0, 1], [90, 10])
    alpha = SoftmaxFocalLoss.balanced(labels).alpha
    assert alpha[1] / sum(alpha) == pytest.approx(FocalLoss.balanced(labels).alpha)  # type: ignore[index, arg-type]


@pytest.mark.parametrize(("labels", "n_classes"), [([0, 2], None), ([0, 1], 3), ([0, 0], None)])
def test_balanced_refuses_a_class_without_a_row(labels: list[int], n_classes: int | None) -> None:
    with pytest.raises(ValueError, match=r"^y must have rows of every class .* none of [12]"):
        SoftmaxFocalLoss.balanced(labels, n_classes=n_classes)


# --- metrics ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@every_gamma
def test_metrics_are_those_of_the_posterior(gamma: float, weighted: bool) -> None:
    from sklearn.metrics import average_precision_score, log_loss

    labels, margins, weights = rows()
    margins /= 3
    weight = weights if weighted else None
    loss = SoftmaxFocalLoss(4, gamma, uneven(4))
    proba = loss.predict_proba(margins)
    one_hot = np.arange(4) == labels[:, np.newaxis]
    assert LogLoss(loss).score(labels, margins, weight) == pytest.approx(log_loss(labels, proba, sample_weight=weight))
    brier = np.average(((proba - one_hot) ** 2).sum(axis=1), weights=weight)
    assert Brier(loss).score(labels, margins, weight) == pytest.approx(brier)
    precision = np.mean([average_precision_score(one_hot[:, k], proba[:, k], sample_weight=weight) for k in range(4)])
    assert MacroAveragePrecision(loss).score(labels, margins, weight) == pytest.approx(precision)
    present = labels != 2
    without = np.mean([average_precision_score(one_hot[present][:, k], proba[present][:, k]) for k in (0, 1, 3)])
    assert MacroAveragePrecision(loss).score(labels[present], margins[present]) == pytest.approx(without)


def test_log_loss_is_exact_in_the_tails() -> None:
    loss = SoftmaxFocalLoss(3, 0)
    assert_allclose(loss.log_loss([0, 1], [[50, 0, 0], [2e5, 0, 0]]), [2 * np.exp(-50), 2e5], rtol=1e-12)


# --- values and refusals ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loss",
    [SoftmaxFocalLoss(3), SoftmaxFocalLoss(2, 0.3, (0.1, 0.9), "exact"), SoftmaxFocalLoss(4, max_step=np.inf)],
    ids=repr,
)
def test_copies_are_equal_in_value(loss: SoftmaxFocalLoss) -> None:
    from sklearn.base import clone

    for duplicate in (eval(repr(loss)), pickle.loads(pickle.dumps(loss)), copy.deepcopy(loss), clone(loss, safe=False)):
        assert duplicate == loss
        assert hash(duplicate) == hash(loss)
    assert loss != SoftmaxFocalLoss(5)


def test_parameters_are_coerced() -> None:
    loss = SoftmaxFocalLoss(np.int64(3), np.float32(2), np.array([1, 2, 3]), max_step=10)  # type: ignore[arg-type]
    assert loss == SoftmaxFocalLoss(3, 2.0, (1.0, 2.0, 3.0))
    assert [type(value) for value in loss.alpha] == [float] * 3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("parameters", "error", "name", "shown"),
    [
        ({"n_classes": 1}, ValueError, "n_classes", "1"),
        ({"n_classes": 2.5}, ValueError, "n_classes", "2.5"),
        ({"n_classes": True}, ValueError, "n_classes", "True"),
        ({"gamma": -1}, ValueError, "gamma", "-1"),
        ({"gamma": np.nan}, ValueError, "gamma", "nan"),
        ({"gamma": (1, 2)}, TypeError, "gamma", "(1, 2)"),
        ({"alpha": 0.25}, ValueError, "alpha", "0.25"),
        ({"alpha": (1, 2)}, ValueError, "alpha", "(1, 2)"),
        ({"alpha": (1, 2, 3, 4)}, ValueError, "alpha", "(1, 2, 3, 4)"),
        ({"alpha": (1, 0, 1)}, ValueError, "alpha", "0"),
        ({"alpha": (1, -1, 1)}, ValueError, "alpha", "-1"),
        ({"alpha": (1, np.inf, 1)}, ValueError, "alpha", "inf"),
        ({"alpha": ("a", 1, 1)}, TypeError, "alpha", "'a'"),
        ({"hessian": "newton"}, ValueError, "hessian", "'newton'"),
        ({"max_step": 0}, ValueError, "max_step", "0"),
    ],
    ids=str,
)
def test_parameters_out_of_range_are_refused(parameters: Any, error: type[Exception], name: str, shown: str) -> None:
    with pytest.raises(error, match=rf"^{name} must be .*{re.escape(shown)}"):
        SoftmaxFocalLoss(**{"n_classes": 3, **parameters})


ZEROS = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize(
    ("y", "margin", "weight", "error", "name", "shown"),
    [
        ([0, 3], ZEROS, None, ValueError, "y", "to 2, got 3 at index 1"),
        ([0, -1], ZEROS, None, ValueError, "y", "-1 at index 1"),
        ([0, 1.5], ZEROS, None, ValueError, "y", "1.5 at index 1"),
        ([0, np.nan], ZEROS, None, ValueError, "y", "nan at index 1"),
        ([0, np.inf], ZEROS, None, ValueError, "y", "inf at index 1"),
        (["a", "b"], ZEROS, None, TypeError, "y", "['a', 'b']"),
        ([[0, 1, 0], [1, 0, 0]], ZEROS, None, ValueError, "y", "(2, 3)"),
        ([0, 1, 2], ZEROS, None, ValueError, "margin", "(2, 3)"),
        ([0, 1], [[0, 0], [0, 0]], None, ValueError, "margin", "(2, 2)"),
        ([0, 1], [0, 0], None, ValueError, "margin", "(2,)"),
        ([0, 1], [[0, 0, 0], [0, np.nan, 0]], None, ValueError, "margin", "nan at index 1, 1"),
        ([0, 0], [[0, 0, 0], [0, np.nan, 0]], None, ValueError, "margin", "nan at index 1, 1"),
        ([0, 1], ZEROS, [1], ValueError, "sample_weight", "(1,)"),
        ([0, 1], ZEROS, [1, -1], ValueError, "sample_weight", "-1 at index 1"),
        ([0, 1], ZEROS, [1, np.nan], ValueError, "sample_weight", "nan at index 1"),
    ],
    ids=str,
)
def test_rows_not_accepted_are_refused(
    y: Any, margin: Any, weight: Any, error: type[Exception], name: str, shown: str
) -> None:
    for loss in (SoftmaxFocalLoss(3), SoftmaxFocalLoss(3, 0.3, hessian="exact")):
        for call in (loss.gradient_hessian, loss.mean, loss, loss.metric.score, LogLoss(loss).score, Brier(loss).score):
            with pytest.raises(error, match=rf"^{name} must .*{re.escape(shown)}"):
                call(y, margin, weight)
        if weight is None:
            with pytest.raises(error, match=rf"^{name} must .*{re.escape(shown)}"):
                loss.value(y, margin)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda loss: loss.predict_proba([0.0, 0.0]), r"margin must have 3 columns.*\(2,\)"),
        (lambda loss: loss.predict_proba([0.0, np.nan, 0.0]), r"margin must be numbers, not NaN"),
        (lambda loss: loss.predict_proba([0.0] * 3, sampling_rates=[1, 1]), r"sampling_rates must be 3 positive"),
        (lambda loss: loss.predict_proba([0.0] * 3, sampling_rates=[1, 0, 1]), r"sampling_rates must be .*\[1, 0, 1\]"),
        (lambda loss: loss.margin([0.5, 0.5]), r"proba must have 3 columns.*\(2,\)"),
        (lambda loss: loss.margin([0.5, 0.5, 0.5]), r"proba must sum to 1 .* 1.5"),
        (lambda loss: loss.margin([1.5, -0.5, 0.0]), r"proba must be in \[0, 1\], got 1.5 at index 0"),
        (lambda loss: loss.optimal_margin([0, 3]), r"y must be classes.* got 3 at index 1"),
        (lambda loss: loss.optimal_margin([0, 1], [0, 0]), r"sample_weight must not sum to zero"),
        (lambda loss: loss.mean([0], [[0.0] * 3], [0]), r"sample_weight must not sum to zero"),
        (lambda loss: MacroAveragePrecision(loss).score([0], [[0.0] * 3] * 2), r"y must have shape \(2,\)"),
        (lambda loss: MacroAveragePrecision(loss).score([0, 3], [[0.0] * 3] * 2), r"y must be classes.* got 3"),
        (lambda loss: MacroAveragePrecision(loss).score([0], [[0.0] * 3], [0]), r"y must have a positive row"),
    ],
)  # fmt: skip
def test_other_arguments_out_of_range_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match="^" + message):
        call(SoftmaxFocalLoss(3))


@pytest.mark.parametrize("name", ["y", "margin", "sample_weight"])
def test_one_bad_value_deep_inside_a_large_array_is_refused(n_threads: int, name: str) -> None:
    labels, margins, weights = rows(60_000, 4)
    arrays = {"y": labels.astype(np.float32), "margin": margins, "sample_weight": weights}
    arrays[name][59_000] = np.nan
    with pytest.raises(ValueError, match=rf"^{name} must be .* got nan at index 59000"):
        SoftmaxFocalLoss(4).gradient_hessian(**arrays)
