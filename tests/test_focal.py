"""FocalLoss: its numbers against high-precision references, its value semantics, what it refuses."""

import copy
import pickle
import re
import tracemalloc
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from reference import Gamma, mp
from scipy.optimize import minimize_scalar

from boostfocal import FocalLoss
from boostfocal.base import BLOCK

GAMMAS: list[Gamma] = [0.0, 0.3, 0.5, 1.0, 2.0, 5.0, (4.0, 0.0), (0.0, 1.0), (0.7, 2.2)]
ALPHAS = [None, 0.05, 0.25, 0.9]
EPSILON = np.finfo(np.float64).eps

every_gamma = pytest.mark.parametrize("gamma", GAMMAS, ids=str)
every_alpha = pytest.mark.parametrize("alpha", ALPHAS)
every_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def assert_close(result: np.ndarray, expected: np.ndarray) -> None:
    """2e-6 relative error where values matter to an engine, 1e-5 down to 1e-30, and always finite."""
    assert np.isfinite(result).all()
    error, size = np.abs(result - expected), np.abs(expected)
    assert (error <= np.where(size > 1e-6, 2e-6, 1e-5) * size)[size > 1e-30].all()
    assert np.abs(result[size <= 1e-30]).max(initial=0) <= 1e-29


# --- gradient, Hessian and value -------------------------------------------------------------------


def test_reference_has_50_digits_at_gamma_0() -> None:
    for x in (-40.0, -3.0, 0.0, 0.5, 40.0):
        value, slope, curvature = reference.derivatives(x, 0.0)
        p, q = 1 / (1 + mp.exp(-x)), 1 / (1 + mp.exp(x))
        for result, expected in ((value, mp.log(1 + mp.exp(-x))), (slope, -q), (curvature, p * q)):
            assert abs(result / expected - 1) < mp.mpf(10) ** -50


@every_gamma
@every_alpha
@every_dtype
@pytest.mark.parametrize("label", [0, 1])
def test_gradient_and_expected_hessian_match_50_digit_reference(
    gamma: Gamma, alpha: float | None, dtype: type[np.floating], label: int
) -> None:
    margins = reference.margins(dtype)
    loss = FocalLoss(gamma, alpha, max_step=np.inf)
    gradient, hessian = loss.gradient_hessian(np.full(margins.size, label), margins)
    assert gradient.dtype == hessian.dtype == np.float32
    assert_close(gradient, reference.column(margins, gamma, alpha, "gradient", label))
    assert_close(hessian, reference.column(margins, gamma, alpha, "expected"))
    assert (hessian >= 0).all()


@every_gamma
@every_alpha
@every_dtype
@pytest.mark.parametrize("label", [0, 1])
def test_exact_hessian_matches_50_digit_reference(
    gamma: Gamma, alpha: float | None, dtype: type[np.floating], label: int
) -> None:
    margins = reference.margins(dtype)
    loss = FocalLoss(gamma, alpha, hessian="exact")
    gradient, hessian = loss.gradient_hessian(np.full(margins.size, label), margins)
    assert_close(gradient, reference.column(margins, gamma, alpha, "gradient", label))
    assert np.isfinite(hessian).all()
    terms = reference.column(margins, gamma, alpha, "terms", label)
    error = np.abs(hessian - reference.column(margins, gamma, alpha, "exact", label))
    assert (error <= 1e-5 * terms)[terms > 1e-30].all()
    assert error[terms <= 1e-30].max(initial=0) <= 1e-29


@every_gamma
@every_alpha
@pytest.mark.parametrize("label", [0, 1])
def test_value_matches_50_digit_reference(gamma: Gamma, alpha: float | None, label: int) -> None:
    margins = reference.margins(np.float64)
    values = FocalLoss(gamma, alpha).value(np.full(margins.size, label), margins)
    assert values.dtype == np.float64
    expected = reference.column(margins, gamma, alpha, "value", label)
    assert_allclose(values, expected, rtol=1e-13, atol=1e-300)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0, (4.0, 0.0)], ids=str)  # fewer: each is compiled again for weights
@pytest.mark.parametrize("hessian", ["expected", "exact"])
def test_weights_multiply_gradient_and_hessian(gamma: Gamma, hessian: Any) -> None:
    margins = np.tile(reference.margins(np.float64), 2)
    labels = np.repeat([0, 1], margins.size // 2)
    weights = np.random.default_rng(0).exponential(size=margins.size)
    weights[::7] = 0
    loss = FocalLoss(gamma, 0.25, hessian, max_step=np.inf)
    plain, weighted = loss.gradient_hessian(labels, margins), loss.gradient_hessian(labels, margins, weights)
    for without, with_weights in zip(plain, weighted, strict=True):
        assert_allclose(with_weights, without * weights, rtol=2e-7, atol=1e-37)


@every_gamma
@pytest.mark.parametrize("hessian", ["expected", "exact"])
@pytest.mark.parametrize("far", [1e30, np.inf])
def test_far_margins_give_limits(gamma: Gamma, hessian: Any, far: float) -> None:
    loss = FocalLoss(gamma, 0.25, hessian, max_step=np.inf)
    gradient, curvature = loss.gradient_hessian([0, 0, 1, 1], [-far, far, -far, far])
    assert_allclose(gradient, [0, 0.75, -0.25, 0], rtol=1e-6)
    assert_array_equal(curvature, np.zeros(4))


@every_gamma
def test_value_at_far_margins_is_proportional_to_the_margin(gamma: Gamma) -> None:
    values = FocalLoss(gamma, 0.25).value([0, 0, 1, 1], [-1e30, 1e30, -1e30, 1e30])
    assert_allclose(values, [0, 0.75e30, 0.25e30, 0], rtol=1e-13)


@every_gamma
@every_alpha
@pytest.mark.parametrize("max_step", [0.5, 10.0])
def test_step_is_bounded_by_raising_the_expected_hessian(gamma: Gamma, alpha: float | None, max_step: float) -> None:
    margins = np.tile(reference.margins(np.float32), 3)
    labels = np.repeat([0, 0.4, 1], margins.size // 3)
    gradient, hessian = FocalLoss(gamma, alpha, max_step=max_step).gradient_hessian(labels, margins)
    same_gradient, unbounded = FocalLoss(gamma, alpha, max_step=np.inf).gradient_hessian(labels, margins)
    assert_array_equal(gradient, same_gradient)
    assert_allclose(hessian, np.maximum(unbounded, np.abs(gradient) / max_step), rtol=1e-6, atol=1e-37)
    assert (np.abs(gradient) <= max_step * hessian * (1 + 1e-6) + 1e-37).all()


def test_default_bounds_the_step_at_10() -> None:
    gradient, hessian = FocalLoss().gradient_hessian([1], [-8.0])
    assert_allclose(gradient, -10 * hessian, rtol=1e-6)


def test_exact_hessian_ignores_max_step_and_is_negative_for_badly_wrong_rows() -> None:
    for max_step in (0.1, np.inf):
        _, hessian = FocalLoss(2.0, hessian="exact", max_step=max_step).gradient_hessian([1, 0], [-4.0, 4.0])
        assert_allclose(hessian, [float(reference.row(-4.0, 2.0, None).exact[1])] * 2, rtol=1e-5)
        assert (hessian < 0).all()


# --- soft labels -----------------------------------------------------------------------------------


@every_gamma
@pytest.mark.parametrize("hessian", ["expected", "exact"])
def test_gradient_and_exact_hessian_are_linear_in_soft_labels(gamma: Gamma, hessian: Any) -> None:
    margins, zeros = reference.margins(np.float32), np.zeros(reference.margins(np.float32).size)
    loss = FocalLoss(gamma, 0.25, hessian, max_step=np.inf)
    negative, positive = loss.gradient_hessian(zeros, margins), loss.gradient_hessian(zeros + 1, margins)
    for y in (0.1, 0.5, 0.875):
        gradient, curvature = loss.gradient_hessian(zeros + y, margins)
        mixed = (1 - y) * negative[0] + y * positive[0]
        assert (np.abs(gradient - mixed) <= 1e-6 * (np.abs(negative[0]) + np.abs(positive[0]))).all()
        if hessian == "exact":
            mixed = (1 - y) * negative[1] + y * positive[1]
            assert (np.abs(curvature - mixed) <= 1e-6 * (np.abs(negative[1]) + np.abs(positive[1]))).all()


@every_gamma
@every_alpha
def test_expected_hessian_does_not_depend_on_the_label(gamma: Gamma, alpha: float | None) -> None:
    margins = reference.margins(np.float64)
    loss = FocalLoss(gamma, alpha, max_step=np.inf)
    hessians = [loss.gradient_hessian(np.full(margins.size, y), margins)[1] for y in (0, 0.1, 0.5, 1)]
    for hessian in hessians[1:]:
        assert_array_equal(hessian, hessians[0])


@every_gamma
@every_alpha
@pytest.mark.parametrize("y", [0.0, 0.3, 0.9, 1.0])
def test_derivatives_match_differences_of_value(gamma: Gamma, alpha: float | None, y: float) -> None:
    margins = np.linspace(-12, 12, 49)
    labels, loss = np.full(margins.size, y), FocalLoss(gamma, alpha, hessian="exact")
    gradient, hessian = loss.gradient_hessian(labels, margins)
    # central differences: the first error is of order step**2, the second of order rounding / step
    step = 1e-4
    slope = (loss.value(labels, margins + step) - loss.value(labels, margins - step)) / (2 * step)
    assert_allclose(gradient, slope, rtol=2e-6, atol=1e-6)
    step = 1e-3
    change = loss.value(labels, margins + step) - 2 * loss.value(labels, margins) + loss.value(labels, margins - step)
    assert_allclose(hessian, change / step**2, rtol=2e-6, atol=1e-5)


def test_value_of_soft_labels_is_between_the_classes() -> None:
    loss, margins = FocalLoss((1.0, 3.0), 0.25), np.linspace(-5, 5, 11)
    ends = [loss.value(np.full(11, y), margins) for y in (0, 1)]
    assert_allclose(loss.value(np.full(11, 0.3), margins), 0.7 * ends[0] + 0.3 * ends[1], rtol=1e-14)


# --- probabilities and margins ---------------------------------------------------------------------

gamma_values = st.one_of(st.floats(0, 50), st.tuples(st.floats(0, 50), st.floats(0, 50)))
alpha_values = st.one_of(st.none(), st.floats(1e-6, 1 - 1e-6))


@every_gamma
@every_alpha
def test_posterior_matches_50_digit_reference(gamma: Gamma, alpha: float | None) -> None:
    margins, loss = reference.margins(np.float64), FocalLoss(gamma, alpha)
    expected = reference.column(margins, gamma, alpha, "log_odds")
    assert_allclose(loss.log_odds(margins), expected, rtol=1e-13, atol=1e-14)
    posterior = np.array([float(1 / (1 + mp.exp(-reference.row(float(z), gamma, alpha).log_odds))) for z in margins])
    assert_allclose(loss.predict_proba(margins), posterior, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("gamma", [200.0, 1000.0, (1000.0, 0.0), (0.0, 1000.0), (900.0, 1000.0)], ids=str)
@pytest.mark.parametrize("alpha", [None, 1e-3])
def test_posterior_of_a_gamma_with_which_both_gradients_underflow_matches_the_reference(
    gamma: Gamma, alpha: float | None
) -> None:
    margins = np.concatenate([np.linspace(-3, 3, 61), [-800.0, -80.0, -20.0, 20.0, 80.0, 800.0]])
    expected = [float(1 / (1 + mp.exp(-reference.row(float(z), gamma, alpha).log_odds))) for z in margins]
    assert_allclose(FocalLoss(gamma, alpha).predict_proba(margins), expected, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("loss", [FocalLoss(2.0, 0.25), FocalLoss((1000.0, 900.0)), FocalLoss(0.3)], ids=str)
def test_posterior_of_many_rows_is_that_of_each(loss: FocalLoss) -> None:
    margins = np.random.default_rng(0).normal(scale=5, size=2 * BLOCK + 3)
    some = np.r_[0:40, BLOCK - 20 : BLOCK + 20, 2 * BLOCK - 20 : 2 * BLOCK + 3]
    proba = loss.predict_proba(margins)
    assert_allclose(proba[some], [loss.predict_proba(z) for z in margins[some]], rtol=1e-14)
    assert_allclose(loss.predict_proba(margins[::-1].astype(">f8")), proba[::-1], rtol=1e-14)
    assert_allclose(loss.margin(proba)[some], [loss.margin(p) for p in proba[some]], rtol=1e-14, atol=1e-15)


def test_posterior_needs_no_memory_but_its_result() -> None:
    margins = np.linspace(-6, 6, 1_000_000, dtype=np.float32)
    FocalLoss(2.0, 0.25).predict_proba(margins)
    tracemalloc.start()
    try:
        result = FocalLoss(2.0, 0.25).predict_proba(margins)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < result.nbytes + 4_000_000


@given(gamma_values, alpha_values, st.floats(0, 1, allow_subnormal=False))
def test_predict_proba_undoes_margin(gamma: Gamma, alpha: float | None, proba: float) -> None:
    loss = FocalLoss(gamma, alpha)
    assert abs(loss.predict_proba(loss.margin(proba)) - proba) <= 1e-12 * proba


@given(gamma_values, alpha_values, st.floats(-100, 100))
def test_margin_undoes_predict_proba(gamma: Gamma, alpha: float | None, margin: float) -> None:
    loss = FocalLoss(gamma, alpha)
    proba, log_odds = float(loss.predict_proba(margin)), float(loss.log_odds(margin))
    if not (proba > 1e-300 and 1 - proba > 1e-8):
        return
    # The log odds carry the rounding of proba, magnified by 1 / (1 - proba), and their own; their slope
    # in the margin is at least 1/2.
    tolerance = 2 * EPSILON * (8 / (1 - proba) + 8 * abs(log_odds) + 100 * (1 + abs(margin)))
    assert abs(loss.margin(proba) - margin) <= tolerance


@every_gamma
@every_alpha
def test_predict_proba_increases_with_the_margin(gamma: Gamma, alpha: float | None) -> None:
    loss, margins = FocalLoss(gamma, alpha), np.linspace(-700, 700, 20001)
    proba, log_odds = loss.predict_proba(margins), loss.log_odds(margins)
    assert (np.diff(proba) >= 0).all()
    assert (np.diff(log_odds) > 0.49 * np.diff(margins)).all()
    assert proba.min() >= 0
    assert proba.max() <= 1


@every_gamma
@every_alpha
def test_margins_of_certainty_are_infinite_and_map_back(gamma: Gamma, alpha: float | None) -> None:
    loss = FocalLoss(gamma, alpha)
    assert_array_equal(loss.margin([0, 1]), [-np.inf, np.inf])
    assert_array_equal(loss.predict_proba([-np.inf, -1e30, 1e30, np.inf]), [0, 0, 1, 1])


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3)])
def test_shapes_are_kept(shape: tuple[int, ...]) -> None:
    loss = FocalLoss(2.0, 0.25)
    proba = np.random.default_rng(0).uniform(size=shape)
    margins = loss.margin(proba)
    for result in (margins, loss.predict_proba(margins), loss.log_odds(margins), loss.value(proba, margins)):
        assert np.shape(result) == shape
        assert np.asarray(result).dtype == np.float64
    assert_allclose(loss.predict_proba(margins), proba, rtol=1e-12)
    flat = [loss.margin(p) for p in np.ravel(proba)]
    assert_allclose(np.ravel(margins), flat, rtol=1e-14)


def test_posterior_is_the_sigmoid_at_gamma_0_without_alpha() -> None:
    loss, margins = FocalLoss(0.0), np.linspace(-700, 700, 1401)
    assert_allclose(loss.predict_proba(margins), 1 / (1 + np.exp(-margins)), rtol=1e-13)
    assert_allclose(loss.margin([0.1, 0.5, 0.9]), np.log([1 / 9, 1, 9]), rtol=1e-14, atol=1e-15)


@every_gamma
@every_alpha
@pytest.mark.parametrize("rate", [1, 0.5, 1e-3])
def test_sampling_rates_multiply_the_odds(gamma: Gamma, alpha: float | None, rate: float) -> None:
    loss, margins = FocalLoss(gamma, alpha), np.linspace(-4, 4, 17)
    proba = loss.predict_proba(margins)
    expected = proba * rate / (proba * rate + (1 - proba))
    assert_allclose(loss.predict_proba(margins, sampling_rates=rate), expected, rtol=1e-9)
    assert_allclose(loss.predict_proba(margins, sampling_rates=(3 * rate, 3)), expected, rtol=1e-9)  # over-sampled


@every_gamma
@every_alpha
@pytest.mark.parametrize("eta", [0.003, 0.3, 0.9])
def test_margin_of_least_expected_loss_maps_to_the_posterior(gamma: Gamma, alpha: float | None, eta: float) -> None:
    loss = FocalLoss(gamma, alpha)

    def expected_loss(z: float) -> float:
        return float(eta * loss.value(1, z) + (1 - eta) * loss.value(0, z))

    least = minimize_scalar(expected_loss, bounds=(-30, 30), method="bounded", options={"xatol": 1e-9}).x
    assert_allclose(loss.predict_proba(least), eta, rtol=1e-5)


# --- the starting margin ---------------------------------------------------------------------------


@every_gamma
@every_alpha
@pytest.mark.parametrize("kind", ["hard", "soft", "weighted", "soft and weighted"])
def test_gradients_sum_to_zero_at_the_optimal_margin(gamma: Gamma, alpha: float | None, kind: str) -> None:
    rng = np.random.default_rng(0)
    labels: Any = rng.uniform(size=2000) < 0.03
    if "soft" in kind:
        labels = rng.beta(0.1, 1, size=2000)
    weights = rng.exponential(size=2000) if "weighted" in kind else None
    loss = FocalLoss(gamma, alpha)
    start = loss.optimal_margin(labels, weights)
    assert type(start) is float
    gradient, _ = loss.gradient_hessian(labels, np.full(2000, start), weights)
    assert abs(gradient.sum(dtype=np.float64)) <= 1e-6 * np.abs(gradient).sum(dtype=np.float64)
    assert_allclose(loss.predict_proba(start), np.average(labels, weights=weights), rtol=1e-12)


def test_optimal_margin_of_one_class_is_infinite() -> None:
    for gamma in GAMMAS:
        loss = FocalLoss(gamma, 0.25)
        assert loss.optimal_margin(np.zeros(5)) == -np.inf
        assert loss.optimal_margin(np.ones(5)) == np.inf
        assert loss.optimal_margin([0, 1], [1, 0]) == -np.inf
        assert loss.optimal_margin(np.full(3, 1.0), [0.1, 0.2, 0.3]) == np.inf


# --- balanced --------------------------------------------------------------------------------------


def test_balanced_alpha_is_the_share_of_negatives() -> None:
    labels = np.array([0] * 97 + [1] * 3)
    loss = FocalLoss.balanced(labels, (1.0, 2.0), max_step=5.0)
    assert loss == FocalLoss((1.0, 2.0), 0.97, max_step=5.0)
    assert FocalLoss.balanced(labels).gamma == 2.0
    assert FocalLoss.balanced([0.0, 0.25, 0.25]).alpha == pytest.approx(5 / 6, rel=1e-15)


def test_balanced_classes_pull_with_the_same_total() -> None:
    labels = np.array([0] * 97 + [1] * 3)
    gradient, _ = FocalLoss.balanced(labels).gradient_hessian(labels, np.zeros(100))
    assert gradient[labels == 0].sum() == pytest.approx(-gradient[labels == 1].sum(), rel=1e-6)


@pytest.mark.parametrize("beta", [None, 0, 0.9, 0.999])
def test_balanced_weights_count_as_repeated_rows(beta: float | None) -> None:
    rng = np.random.default_rng(0)
    labels, weights = rng.integers(0, 2, 50), rng.integers(0, 4, 50)
    weighted = FocalLoss.balanced(labels, beta=beta, sample_weight=weights)
    repeated = FocalLoss.balanced(np.repeat(labels, weights), beta=beta)
    assert weighted.alpha == pytest.approx(repeated.alpha, rel=1e-15)


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.999, 0.9999999])
@pytest.mark.parametrize(("negatives", "positives"), [(1, 1), (990, 10), (10, 990), (2000, 1)])
def test_balanced_uses_the_effective_number_of_samples(beta: float, negatives: int, positives: int) -> None:
    exact = Fraction(beta)
    effective = [(1 - exact**n) / (1 - exact) for n in (negatives, positives)]
    expected = (1 / effective[1]) / (1 / effective[0] + 1 / effective[1])
    loss = FocalLoss.balanced(np.repeat([0, 1], [negatives, positives]), beta=beta)
    assert loss.alpha == pytest.approx(float(expected), rel=1e-12)


def test_balanced_weighs_classes_alike_at_beta_0_and_by_inverse_frequency_towards_1() -> None:
    labels = np.repeat([0, 1], [990, 10])
    assert FocalLoss.balanced(labels, beta=0).alpha == 0.5
    assert FocalLoss.balanced(labels, beta=0.9999999).alpha == pytest.approx(0.99, rel=1e-6)
    assert FocalLoss.balanced(labels, beta=np.nextafter(1, 0)).alpha == pytest.approx(0.99, rel=1e-9)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1]])
def test_balanced_refuses_a_missing_class(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="y must have rows of both classes"):
        FocalLoss.balanced(labels)
    with pytest.raises(ValueError, match="y must have rows of both classes"):
        FocalLoss.balanced([0, 1], sample_weight=[labels[0], 1 - labels[0]])


# --- value semantics -------------------------------------------------------------------------------

LOSSES = [
    FocalLoss(),
    FocalLoss(0.1, 1 / 3),
    FocalLoss((4, 0), 0.9, "exact"),
    FocalLoss(2, max_step=np.inf),
    FocalLoss(1e-300, 1e-20, max_step=1e-3),
]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)


@every_loss
@pytest.mark.parametrize(
    "duplicate",
    [lambda loss: eval(repr(loss)), lambda loss: pickle.loads(pickle.dumps(loss)), copy.copy, copy.deepcopy],
    ids=["repr", "pickle", "copy", "deepcopy"],
)
def test_copies_are_equal_in_value_and_in_results(loss: FocalLoss, duplicate: Callable[[FocalLoss], FocalLoss]) -> None:
    other = duplicate(loss)
    assert other == loss
    assert hash(other) == hash(loss)
    assert repr(other) == repr(loss)
    rows = [0, 1], [0.3, 0.3]
    for result, expected in zip(other.gradient_hessian(*rows), loss.gradient_hessian(*rows), strict=True):
        assert_array_equal(result, expected)


def test_losses_differ_by_any_parameter() -> None:
    assert len(set(LOSSES)) == len(LOSSES)
    loss = FocalLoss(2, 0.25)
    for other in (FocalLoss(1, 0.25), FocalLoss(2), FocalLoss(2, 0.25, "exact"), FocalLoss(2, 0.25, max_step=9)):
        assert loss != other
    assert loss != "FocalLoss"


def test_numbers_of_any_type_are_coerced_to_float() -> None:
    coerced = FocalLoss(np.float32(2), np.float64(0.25), max_step=np.int64(10))
    assert coerced == FocalLoss(2, 0.25) == FocalLoss(2.0, 0.25, max_step=10)
    assert hash(coerced) == hash(FocalLoss(2, 0.25))
    for value in (coerced.gamma, coerced.alpha, coerced.max_step):
        assert type(value) is float
    for pair in ([4, 0], (np.int8(4), 0)):
        loss = FocalLoss(pair)
        assert loss == FocalLoss((4.0, 0.0))
        assert isinstance(loss.gamma, tuple)
        assert [type(value) for value in loss.gamma] == [float, float]


@pytest.mark.parametrize("name", ["gamma", "alpha", "hessian", "max_step", "anything"])
def test_parameters_cannot_be_changed(name: str) -> None:
    loss = FocalLoss(2, 0.25)
    with pytest.raises(FrozenInstanceError):
        setattr(loss, name, 1.0)
    assert loss == FocalLoss(2, 0.25)


def test_xgboost_classifier_clones_with_an_equal_loss() -> None:
    xgb, base = pytest.importorskip("xgboost"), pytest.importorskip("sklearn.base")
    loss = FocalLoss(2, 0.25, max_step=np.inf)
    cloned = base.clone(xgb.XGBClassifier(objective=loss, eval_metric=loss.metric))
    assert cloned.get_params()["objective"] == loss
    assert cloned.get_params()["eval_metric"] == loss.metric


def test_lightgbm_classifier_clones_with_an_equal_loss() -> None:
    lgb, base = pytest.importorskip("lightgbm"), pytest.importorskip("sklearn.base")
    loss = FocalLoss(2, 0.25, max_step=np.inf)
    assert base.clone(lgb.LGBMClassifier(objective=loss)).get_params()["objective"] == loss


# --- refusals --------------------------------------------------------------------------------------

NAN = float("nan")


@pytest.mark.parametrize(
    ("parameters", "error", "name", "shown"),
    [
        ({"gamma": -0.5}, ValueError, "gamma", "-0.5"),
        ({"gamma": NAN}, ValueError, "gamma", "nan"),
        ({"gamma": np.inf}, ValueError, "gamma", "inf"),
        ({"gamma": "2"}, TypeError, "gamma", "'2'"),
        ({"gamma": True}, TypeError, "gamma", "True"),
        ({"gamma": np.True_}, TypeError, "gamma", "True"),
        ({"gamma": None}, TypeError, "gamma", "None"),
        ({"gamma": 2j}, TypeError, "gamma", "2j"),
        ({"gamma": (1, 2, 3)}, ValueError, "gamma", "(1, 2, 3)"),
        ({"gamma": (1,)}, ValueError, "gamma", "(1,)"),
        ({"gamma": ()}, ValueError, "gamma", "()"),
        ({"gamma": (1, -2)}, ValueError, "gamma", "-2"),
        ({"gamma": (NAN, 1)}, ValueError, "gamma", "nan"),
        ({"gamma": (1, "2")}, TypeError, "gamma", "2"),
        ({"gamma": [[1, 2, 3]]}, ValueError, "gamma", "[[1, 2, 3]]"),
        ({"gamma": np.ones((2, 2, 2))}, TypeError, "gamma", "array"),
        ({"gamma": np.array([1, -2])}, ValueError, "gamma", "-2"),
        ({"gamma": [[1, 2], [3, NAN]]}, ValueError, "gamma", "nan"),
        ({"gamma": ((1, 2), 3)}, TypeError, "gamma", "(1, 2)"),
        ({"gamma": 1001}, ValueError, "gamma", "1001"),
        ({"gamma": 10**400}, ValueError, "gamma", "too large"),
        ({"alpha": 1e-31}, ValueError, "alpha", "1e-31"),
        ({"alpha": 0}, ValueError, "alpha", "0"),
        ({"alpha": 1}, ValueError, "alpha", "1"),
        ({"alpha": 1.5}, ValueError, "alpha", "1.5"),
        ({"alpha": NAN}, ValueError, "alpha", "nan"),
        ({"alpha": "balanced"}, TypeError, "alpha", "'balanced'"),
        ({"alpha": True}, TypeError, "alpha", "True"),
        ({"alpha": (0.2, 1.8)}, ValueError, "alpha", "1.8"),
        ({"alpha": ()}, ValueError, "alpha", "()"),
        ({"alpha": [[0.2, 0.8]]}, ValueError, "alpha", "[[0.2, 0.8]]"),
        ({"hessian": "newton"}, ValueError, "hessian", "'newton'"),
        ({"hessian": np.array(["exact"])}, ValueError, "hessian", "array"),
        ({"max_step": 1e-7}, ValueError, "max_step", "1e-07"),
        ({"hessian": None}, ValueError, "hessian", "None"),
        ({"max_step": 0}, ValueError, "max_step", "0"),
        ({"max_step": -1}, ValueError, "max_step", "-1"),
        ({"max_step": NAN}, ValueError, "max_step", "nan"),
        ({"max_step": None}, TypeError, "max_step", "None"),
    ],
    ids=str,
)
def test_parameters_out_of_range_are_refused(
    parameters: dict[str, Any], error: type[Exception], name: str, shown: str
) -> None:
    with pytest.raises(error, match=rf"(?s)^{name} must be .*{re.escape(shown)}"):
        FocalLoss(**parameters)


@pytest.mark.parametrize(
    ("y", "margin", "weight", "error", "name", "shown"),
    [
        ([0, -0.1], [0, 0], None, ValueError, "y", "-0.1 at index 1"),
        ([1.1, 0], [0, 0], None, ValueError, "y", "1.1 at index 0"),
        ([0, 2], [0, 0], None, ValueError, "y", "2 at index 1"),
        ([-1, 1], [0, 0], None, ValueError, "y", "-1 at index 0"),
        ([0, NAN], [0, 0], None, ValueError, "y", "nan at index 1"),
        ([0, -NAN], [0, 0], None, ValueError, "y", "nan at index 1"),
        ([0, np.inf], [0, 0], None, ValueError, "y", "inf at index 1"),
        (["no", "yes"], [0, 0], None, TypeError, "y", "['no', 'yes']"),
        ([None, 1], [0, 0], None, TypeError, "y", "[None, 1]"),
        ([0, 1], [0, NAN], None, ValueError, "margin", "nan at index 1"),
        ([0, 1], ["a", "b"], None, TypeError, "margin", "['a', 'b']"),
        ([0, 1], [1j, 0], None, TypeError, "margin", "[1j, 0]"),
        ([0, 1, 1], [0, 0], None, ValueError, "margin", "(2,)"),
        ([0], [0, 0], None, ValueError, "margin", "(2,)"),
        (1, [0, 0], None, ValueError, "y", "()"),
        ([[[0, 1]]], [[[0, 0]]], None, ValueError, "y", "(1, 1, 2)"),
        ([0, 1, 1], [[0, 0]], None, ValueError, "margin", "(1, 2)"),
        ([[0, 1]], [0, 1], None, ValueError, "margin", "(2,)"),
        ([[0, 1], [NAN, 1]], [[0, 0], [0, 0]], None, ValueError, "y", "nan at index 1, 0"),
        ([[0, 1]], [[0, 0]], [1, 1], ValueError, "sample_weight", "(2,)"),
        ([], [], None, ValueError, "y", "(0,)"),
        ([0, 1], [0, 0], [1, -1], ValueError, "sample_weight", "-1 at index 1"),
        ([0, 1], [0, 0], [1, -1e-50], ValueError, "sample_weight", "-1e-50 at index 1"),
        ([0, 1], [0, 0], [NAN, 1], ValueError, "sample_weight", "nan at index 0"),
        ([0, 1], [0, 0], [1, np.inf], ValueError, "sample_weight", "inf at index 1"),
        ([0, 1], [0, 0], [1, 1e39], ValueError, "sample_weight", "1e+39 at index 1"),
        ([0, 1], [0, 0], [1], ValueError, "sample_weight", "(1,)"),
        ([0, 1], [0, 0], [[1], [1]], ValueError, "sample_weight", "(2, 1)"),
        ([0, 1], [0, 0], ["a", "b"], TypeError, "sample_weight", "['a', 'b']"),
    ],
    ids=str,
)
def test_rows_not_accepted_are_refused(
    y: Any, margin: Any, weight: Any, error: type[Exception], name: str, shown: str
) -> None:
    calls: list[Callable[..., Any]] = []
    for loss in (FocalLoss(2, 0.25), FocalLoss((1, 0.3), hessian="exact")):
        calls += [loss.gradient_hessian, loss.mean, loss, loss.metric.score]
    for call in calls:
        with pytest.raises(error, match=rf"^{name} must .*{re.escape(shown)}"):
            call(y, margin, weight)


@pytest.mark.parametrize(
    ("y", "margin", "error", "name", "shown"),
    [
        ([0, -0.1], [0, 0], ValueError, "y", "-0.1 at index 1"),
        ([[0, 1.1]], [[0, 0]], ValueError, "y", "1.1 at index 0, 1"),
        (NAN, 0, ValueError, "y", "nan"),
        ([0, 1], [0, NAN], ValueError, "margin", "nan at index 1"),
        ([0, 1, 1], [0, 0], ValueError, "margin", "(2,)"),
        ([0, 1], 0, ValueError, "margin", "()"),
        (["a"], [0], TypeError, "y", "['a']"),
        ([], [], ValueError, "y", "(0,)"),
    ],
    ids=str,
)
def test_value_refuses_what_it_cannot_compute(
    y: Any, margin: Any, error: type[Exception], name: str, shown: str
) -> None:
    with pytest.raises(error, match=rf"^{name} must .*{re.escape(shown)}"):
        FocalLoss().value(y, margin)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda loss: loss.predict_proba([0, NAN]), ValueError, "margin must be .*nan at index 1"),
        (lambda loss: loss.predict_proba(["a"]), TypeError, r"margin must be .*\['a'\]"),
        (lambda loss: loss.predict_proba([]), ValueError, r"margin must .*\(0,\)"),
        (lambda loss: loss.predict_proba(0, sampling_rates=0), ValueError, "sampling_rates must be .*0"),
        (lambda loss: loss.predict_proba(0, sampling_rates=[1, 1, 1]), ValueError, r"sampling_rates must be .*1, 1, 1"),
        (lambda loss: loss.predict_proba(0, sampling_rates=NAN), ValueError, "sampling_rates must be .*nan"),
        (lambda loss: loss.predict_proba(0, sampling_rates="1"), TypeError, "sampling_rates must be .*'1'"),
        (lambda loss: loss.log_odds(0, sampling_rates=-1), ValueError, "sampling_rates must be .*-1"),
        (lambda loss: loss.margin([0.5, 1.1]), ValueError, "proba must be .*1.1 at index 1"),
        (lambda loss: loss.margin(-0.1), ValueError, "proba must be .*-0.1"),
        (lambda loss: loss.margin(NAN), ValueError, "proba must be .*nan"),
        (lambda loss: loss.margin("0.5"), TypeError, "proba must be .*'0.5'"),
        (lambda loss: loss.optimal_margin([0, 1.1]), ValueError, "y must be .*1.1 at index 1"),
        (lambda loss: loss.optimal_margin([]), ValueError, r"y must .*\(0,\)"),
        (lambda loss: loss.optimal_margin([0, 1], [1, -1]), ValueError, "sample_weight must be .*-1 at index 1"),
        (lambda loss: loss.optimal_margin([0, 1], [0, 0]), ValueError, "sample_weight must not sum to zero"),
        (lambda loss: loss.optimal_margin([0, 1], [1]), ValueError, r"sample_weight must have shape \(2,\).*\(1,\)"),
        (lambda loss: loss.mean([0, 1], [0, 0], [0, 0]), ValueError, "sample_weight must not sum to zero"),
        (lambda loss: loss.balanced([0, 1], beta=1), ValueError, "beta must be .*1"),
        (lambda loss: loss.balanced([0, 1], beta=-0.1), ValueError, "beta must be .*-0.1"),
        (lambda loss: loss.balanced([0, 1], beta="0.9"), TypeError, "beta must be .*'0.9'"),
        (lambda loss: loss.balanced([0, 2]), ValueError, "y must be .*2 at index 1"),
        (
            lambda loss: loss.balanced([0, 1], sample_weight=[1, NAN]),
            ValueError,
            "sample_weight must be .*nan at index 1",
        ),
        (lambda loss: loss.balanced([0, 1], -1), ValueError, "gamma must be .*-1"),
    ],
)
def test_other_arguments_out_of_range_are_refused(
    call: Callable[[FocalLoss], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^{message}"):
        call(FocalLoss())


@pytest.mark.parametrize(
    ("name", "bad"),
    [("y", -0.1), ("y", 1.1), ("y", NAN), ("margin", NAN)] + [("sample_weight", bad) for bad in (-1.0, NAN, np.inf)],
)
def test_one_bad_value_deep_inside_a_large_array_is_refused(n_threads: int, name: str, bad: float) -> None:
    rng = np.random.default_rng(0)
    n, where = 400_000, 300_000
    rows = {"y": (rng.uniform(size=n) < 0.1) * 1.0, "margin": rng.normal(size=n), "sample_weight": rng.uniform(size=n)}
    loss = FocalLoss(2, 0.25)
    loss.gradient_hessian(**rows)
    rows[name][where] = bad
    for call in (loss.gradient_hessian, loss.mean):
        with pytest.raises(ValueError, match=rf"^{name} must be .*{bad} at index {where} \(1 such values\)"):
            call(**rows)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_negative_zero_is_a_label_and_a_weight(dtype: type[np.floating]) -> None:
    loss, margins = FocalLoss(2, 0.25), np.array([0.5, -0.5])
    signed = loss.gradient_hessian(np.array([-0.0, 1], dtype), margins, np.array([1, -0.0], dtype))
    for result, expected in zip(signed, loss.gradient_hessian([0, 1], margins, [1, 0]), strict=True):
        assert_array_equal(result, expected)
    assert loss.optimal_margin(np.array([-0.0, 1], dtype)) == loss.optimal_margin([0, 1])


@pytest.mark.parametrize("gamma", [5e-324, 1e-300, 1e-17, 1e-14, 1e-12, 1e-9, (1e-17, 2.0), (0.0, 1e-14)])
@pytest.mark.parametrize("alpha", [None, 1e-6, 0.25])
def test_margins_of_gammas_near_zero_map_back(gamma: Any, alpha: Any) -> None:
    proba = np.array([0, 1e-300, 1e-12, 0.01, 0.3, 0.5, 0.98, 1 - 1e-12, 1])
    loss = FocalLoss(gamma, alpha)
    assert_allclose(loss.predict_proba(loss.margin(proba)), proba, rtol=1e-11)
