"""The pictures: what is drawn is what they say, on the Axes they are given."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.metrics import average_precision_score

from boostfocal import FocalLoss, SoftmaxFocalLoss

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib import pyplot  # noqa: E402

from boostfocal import plots  # noqa: E402


def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    proba = rng.beta(1, 9, 3000)
    return (rng.random(3000) < proba).astype(int), proba


PICTURES: dict[str, Callable[..., Any]] = {
    "loss_curves": plots.loss_curves,
    "loss_ratio": plots.loss_ratio,
    "derivatives": plots.derivatives,
    "posterior": plots.posterior,
    "precision_recall": lambda **given: plots.precision_recall(rows()[0], {"model": rows()[1]}, **given),
    "reliability": lambda **given: plots.reliability(rows()[0], {"model": rows()[1]}, **given),
}


@pytest.mark.parametrize("name", PICTURES)
def test_each_picture_is_drawn_where_it_is_told(name: str) -> None:
    figure, ax = pyplot.subplots()
    assert PICTURES[name](ax=ax) is ax
    assert pyplot.get_fignums() == [figure.number]
    figure.canvas.draw()
    new = PICTURES[name]()
    assert new.get_xlabel()
    assert new.get_ylabel()
    assert new.get_legend() is not None
    new.figure.canvas.draw()


def lines(ax: Any) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {line.get_label(): line.get_data() for line in ax.get_lines()}


def test_loss_and_ratio_are_those_of_value() -> None:
    drawn, ratios = lines(plots.loss_curves([0, 2])), lines(plots.loss_ratio([2]))
    for name, gamma in (("gamma 0, cross-entropy", 0.0), ("gamma 2", 2.0)):
        p, values = drawn[name]
        inner = p < 1
        margins = np.log(p[inner] / (1 - p[inner]))
        assert_allclose(values[inner], FocalLoss(gamma).value(np.ones(inner.sum()), margins), rtol=1e-9)
    p, ratio = ratios["gamma 2"]
    margins = np.log(p[1:] / (1 - p[1:]))
    ones = np.ones_like(margins)
    assert_allclose(ratio[1:], FocalLoss(0).value(ones, margins) / FocalLoss(2).value(ones, margins), rtol=1e-9)


def test_the_negative_part_of_the_exact_hessian_is_shaded() -> None:
    ax = plots.derivatives(FocalLoss(2.0))
    z, exact = lines(ax)["exact Hessian"]
    (shade,) = ax.collections
    assert (exact < 0).any()
    assert shade.get_datalim(ax.transData).x1 == pytest.approx(z[exact < 0].max(), abs=0.05)
    assert not plots.derivatives(FocalLoss(0)).collections
    pyplot.close("all")


def test_posterior_is_drawn_beside_the_sigmoid() -> None:
    drawn = lines(plots.posterior([FocalLoss((1.0, 3.0), 0.25)]))
    z, proba = drawn["gamma (1, 3), alpha 0.25"]
    assert_allclose(proba, FocalLoss((1.0, 3.0), 0.25).predict_proba(z))
    assert_allclose(drawn["sigmoid"][1], 1 / (1 + np.exp(-z)))


def test_curves_of_models_name_their_average_precision_and_lie_on_the_diagonal_if_calibrated() -> None:
    labels, proba = rows()
    (name,) = [name for name in lines(plots.precision_recall(labels, {"m": proba})) if name.startswith("m,")]
    assert name == f"m, average precision {average_precision_score(labels, proba):.3f}"
    mean, share = lines(plots.reliability(labels, {"m": proba}, bins=5))["m"]
    assert mean.size == 5
    assert_allclose(share, mean, atol=0.03)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plots.loss_curves([-1]), ValueError, "gamma must be"),
        (lambda: plots.loss_ratio(2.0), TypeError, "gammas must be a sequence of numbers, got 2.0"),  # type: ignore[arg-type]
        (lambda: plots.derivatives(SoftmaxFocalLoss(3)), TypeError, "loss must be a FocalLoss of one label"),  # type: ignore[arg-type]
        (lambda: plots.posterior([FocalLoss(alpha=[0.1, 0.2])]), TypeError, "loss must be a FocalLoss of one label"),
        (lambda: plots.precision_recall([0, 1], [0.1, 0.2]), TypeError, "scores must map"),  # type: ignore[arg-type]
        (lambda: plots.precision_recall([0, 1], {"a": [0.1]}), ValueError, r"scores\['a'\] must have shape"),
        (lambda: plots.precision_recall([0, 0], {"a": [0.1, 1]}), ValueError, "y must have a positive row"),
        (lambda: plots.reliability([0, 1], {"a": [0.1, 2]}), ValueError, r"probabilities\['a'\] must be in \[0, 1\]"),
        (lambda: plots.reliability([0, 1], {"a": [0.1, 1]}, bins=0), ValueError, "bins must be"),
    ],
)
def test_wrong_input_is_refused_and_nothing_is_drawn(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match="^" + message):
        call()
    assert not pyplot.get_fignums()
