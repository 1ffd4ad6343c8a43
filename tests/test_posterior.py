"""Moving margins so that the mean posterior is the share of each class, and recalibration by each method."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from boostfocal import FocalLoss, SoftmaxFocalLoss
from boostfocal.posterior import Posterior
from boostfocal.recalibration import SKETCH, center_on_base_rate, recalibrated

N = 5 * SKETCH + 7


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", [FocalLoss(2.0, 0.01), FocalLoss((3.0, 0.4), 0.9)], ids=str)
def test_mean_posterior_of_many_rows_becomes_the_share_of_positives(loss: FocalLoss, weighted: bool) -> None:
    random = np.random.default_rng(0)
    margins = np.sort(random.normal(scale=3, size=N)).astype(np.float32)  # some rows are like all
    y = (random.uniform(size=N) < 0.03).astype(np.intp)
    weights = random.uniform(size=N) if weighted else None
    shift = center_on_base_rate(loss, margins, y, weights)
    assert shift.shape == (1,)
    mean = np.average(loss.predict_proba(margins + shift), weights=weights)
    assert mean == pytest.approx(np.average(y, weights=weights), rel=1e-9)


@pytest.mark.parametrize("n_classes", [3, 6])
def test_mean_posterior_of_many_rows_becomes_the_share_of_each_class(n_classes: int) -> None:
    random = np.random.default_rng(0)
    loss = SoftmaxFocalLoss(n_classes, 2.0, np.geomspace(1, 30, n_classes))
    margins, y = random.normal(scale=2, size=(N, n_classes)), random.choice(n_classes, N, p=_shares(n_classes))
    shift = center_on_base_rate(loss, margins, y, None)
    assert shift.sum() == pytest.approx(0, abs=1e-12)
    mean = loss.predict_proba(margins + shift).mean(axis=0)
    assert_allclose(mean, np.bincount(y) / N, rtol=1e-8)


def _shares(n_classes: int) -> Any:
    shares = np.geomspace(1, 20, n_classes)
    return shares / shares.sum()


def test_rows_that_are_like_no_sample_of_them_are_centred_too() -> None:
    y = np.zeros(N, np.intp)
    y[1] = 1
    margins = np.full(N, -np.inf)  # of every row that a sample takes
    margins[1::2] = 0.0
    loss = FocalLoss(2.0, 0.25)
    shift = center_on_base_rate(loss, margins, y, None)
    assert loss.predict_proba(margins + shift).mean() == pytest.approx(1 / N, rel=1e-6)


def test_margins_that_no_constant_can_centre_are_left() -> None:
    margins, y = np.array([np.inf, np.inf, -np.inf]), np.array([0, 1, 0])
    assert_array_equal(center_on_base_rate(FocalLoss(2.0, 0.25), margins, y, None), [0.0])


@pytest.mark.parametrize("rates", [None, (0.1, 1.0)])
def test_posterior_of_two_classes_is_that_of_the_loss(rates: Any) -> None:
    loss, margins = FocalLoss(2.0, 0.25), np.linspace(-40, 40, 1001)
    proba = Posterior.from_sampling_rates(loss, rates).predict_proba(margins)
    assert_allclose(proba[:, 1], loss.predict_proba(margins, sampling_rates=rates or 1.0), rtol=1e-13)
    assert_allclose(proba[:, 0], 1 / (1 + np.exp(loss.log_odds(margins, sampling_rates=rates or 1.0))), rtol=1e-11)


def test_posterior_with_a_slope_continues_that_without() -> None:
    for loss, shape in ((FocalLoss(2.0, 0.25), (1001,)), (SoftmaxFocalLoss(4), (1001, 4))):
        margins = np.random.default_rng(0).normal(scale=5, size=shape)
        bias = (0.0, 0.3, -2.0, 1.0)[: 2 if len(shape) == 1 else 4]
        with_slope = Posterior(loss, 1 + 1e-12, bias).predict_proba(margins)
        assert_allclose(Posterior(loss, 1.0, bias).predict_proba(margins), with_slope, rtol=1e-9)


# --- recalibration ---------------------------------------------------------------------------------


def drawn(truth: Posterior, n: int = 20_000, seed: int = 0) -> tuple[Any, Any]:
    """Margins, and labels of the posterior's probabilities."""
    random = np.random.default_rng(seed)
    margins = random.normal(scale=3, size=(n, 3)) if truth.n_classes == 3 else random.normal(-1, 3, size=n)
    return margins, (random.random((n, 1)) > truth.predict_proba(margins).cumsum(axis=1)).sum(axis=1)


def mean_log_loss(posterior: Posterior, margins: Any, y: Any, weights: Any = None) -> float:
    proba = posterior.predict_proba(margins)
    return float(np.average(-np.log(proba[np.arange(y.size), y]), weights=weights))


LOSSES: dict[int, Any] = {2: FocalLoss(2.0, 0.25), 3: SoftmaxFocalLoss(3, 2.0, (1.0, 2.0, 0.5))}


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("gamma", [0.0, 1.0, 5.0])
def test_focal_recalibration_finds_the_probabilities_that_made_the_labels(gamma: float, n_classes: int) -> None:
    loss = LOSSES[n_classes]
    truth = Posterior(loss, 0.8, (0.0, 0.5, -0.3)[:n_classes], link_gamma=gamma)
    margins, y = drawn(truth)
    plain, found = (recalibrated(Posterior(loss), y, margins, method=method) for method in ("sigmoid", "focal"))
    assert found.loss == loss
    assert_allclose(found.predict_proba(margins), truth.predict_proba(margins), atol=0.02)
    assert mean_log_loss(found, margins, y) <= min(mean_log_loss(one, margins, y) for one in (plain, truth)) + 2e-5
    other_margins, other_y = drawn(truth, seed=1)
    assert mean_log_loss(found, other_margins, other_y) < mean_log_loss(plain, other_margins, other_y) + 1e-4
    assert_allclose(found.predict_proba(margins).mean(axis=0), np.bincount(y) / y.size, atol=1e-5)
    again = recalibrated(found, y, margins)
    assert again.link_gamma == found.link_gamma
    assert_allclose(again.predict_proba(margins), found.predict_proba(margins), atol=1e-4)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_isotonic_recalibration_is_that_of_scikit_learn(n_classes: int, weighted: bool) -> None:
    from sklearn.isotonic import IsotonicRegression

    base = Posterior(LOSSES[n_classes], 1.4, (0.0, 0.2, 0.1)[:n_classes])
    margins, y = drawn(Posterior(LOSSES[n_classes], 0.6), 3000)
    weights = np.random.default_rng(0).integers(0, 4, 3000) if weighted else None
    found = recalibrated(base, y, margins, weights, method="isotonic")
    proba = base.predict_proba(margins)
    columns = []
    for k in range(n_classes):
        by = IsotonicRegression(y_min=1 / 3002, y_max=1 - 1 / 3002, out_of_bounds="clip")
        columns.append(by.fit(proba[:, k], y == k, sample_weight=weights).predict(proba[:, k]))
    if n_classes == 2:
        columns[0] = 1 - columns[1]
    expected = np.stack(columns, axis=1)
    expected /= expected.sum(axis=1, keepdims=True)
    assert_allclose(found.predict_proba(margins), expected, atol=1e-9)
    assert mean_log_loss(found, margins, y, weights) < mean_log_loss(base, margins, y, weights)
    assert recalibrated(base, y, margins, weights, method="isotonic") == recalibrated(
        found, y, margins, weights, method="isotonic"
    )
    plain = recalibrated(found, y, margins, weights)
    assert plain.knots == ()
    assert plain == recalibrated(base, y, margins, weights)


@pytest.mark.parametrize("method", ["sigmoid", "focal", "isotonic"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_weights_count_as_repeated_rows_when_recalibrating(n_classes: int, method: Any) -> None:
    margins, y = drawn(Posterior(LOSSES[n_classes], 0.6), 1500)
    weights = np.random.default_rng(0).integers(1, 4, 1500)
    one = recalibrated(Posterior(LOSSES[n_classes]), y, margins, weights, method=method)
    repeated = np.repeat(y, weights), np.repeat(margins, weights, axis=0)
    two = recalibrated(Posterior(LOSSES[n_classes]), *repeated, method=method)
    # the least probability of an isotonic map depends on how many rows there are
    assert_allclose(one.predict_proba(margins), two.predict_proba(margins), atol=2e-3 if method == "isotonic" else 1e-4)


@pytest.mark.parametrize("method", ["focal", "isotonic"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_a_recalibrated_posterior_is_a_value_that_comes_back_from_json(n_classes: int, method: Any) -> None:
    margins, y = drawn(Posterior(LOSSES[n_classes], 0.6), 1500)
    found = recalibrated(Posterior(LOSSES[n_classes]), y, margins, method=method)
    back = Posterior.from_dict(json.loads(json.dumps(found.to_dict())))
    assert back == found
    assert hash(back) == hash(found)
    assert pickle.loads(pickle.dumps(found)) == found
    assert_array_equal(back.predict_proba(margins), found.predict_proba(margins))
    assert_allclose(found.predict_proba([margins[0]]), found.predict_proba(margins)[:1], rtol=1e-12)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"link_gamma": -1}, "link_gamma must be"),
        ({"link_gamma": "2"}, "link_gamma must be"),
        ({"knots": [[[0.1, 0.1], [0.2, 0.3]]]}, "knots must be increasing"),
        ({"knots": [[[0.1, 0.2], [0.3, 0.2]]]}, "knots must be increasing"),
        ({"knots": [[[0.1, 0.2], [0.0, 0.2]]]}, "knots must be increasing probabilities above 0"),
        ({"knots": [[[0.1, 0.2], [0.1]]]}, "knots must be"),
        ({"knots": [[[], []]]}, "knots must be"),
        ({"knots": [[[0.1], [0.2]], [[0.1], [0.2]]]}, "knots must be those of each class, got 2"),
    ],
)
def test_damaged_recalibration_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        Posterior.from_dict(Posterior(LOSSES[2]).to_dict() | values)


def test_other_methods_and_a_slope_without_meaning_are_refused() -> None:
    margins, y = drawn(Posterior(LOSSES[2]), 100)
    with pytest.raises(ValueError, match="method must be one of sigmoid, focal, isotonic, got 'beta'"):
        recalibrated(Posterior(LOSSES[2]), y, margins, method="beta")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="slope must be True with method='isotonic'"):
        recalibrated(Posterior(LOSSES[2]), y, margins, slope=False, method="isotonic")


@pytest.mark.parametrize("method", ["focal", "isotonic"])
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("engine", ["XGB", "LGBM"])
def test_recalibrated_models_are_saved_and_exported(engine: str, n_classes: int, method: Any, tmp_path: Path) -> None:
    pytest.importorskip("xgboost" if engine == "XGB" else "lightgbm")
    onnxruntime = pytest.importorskip("onnxruntime")
    import boostfocal

    random = np.random.default_rng(0)
    X = random.normal(size=(1500, 4))
    y = np.digitize(X[:, 0] + random.normal(size=1500), [0.8, 1.8][: n_classes - 1])
    quiet = {} if engine == "XGB" else {"verbosity": -1}
    model = getattr(boostfocal, f"Focal{engine}Classifier")(n_estimators=15, n_jobs=1, focal_gamma=2.0, **quiet)
    model.fit(X[:1000], y[:1000]).recalibrate(X[1000:], y[1000:], method=method)
    proba = model.predict_proba(X)
    assert_allclose(proba.sum(axis=1), 1)
    file = tmp_path / ("model.ubj" if engine == "XGB" else "model.txt")
    model.save_model(file)
    assert_array_equal(boostfocal.load(file).predict_proba(X), proba)
    session = onnxruntime.InferenceSession(model.to_onnx().SerializeToString())
    given = X.astype(np.float32 if engine == "XGB" else np.float64)
    found, margin = session.run(["probabilities", "margin"], {"X": given})
    assert_allclose(margin, model.decision_function(given), atol=2e-5)
    assert_allclose(found, model.posterior_.predict_proba(margin), atol=1e-6)  # of its margin: a step may be steep
