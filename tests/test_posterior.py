"""Moving margins so that the mean posterior is the share of each class."""

from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from boostfocal import FocalLoss, SoftmaxFocalLoss
from boostfocal.posterior import SKETCH, Posterior, center_on_base_rate

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
