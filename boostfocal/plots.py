"""Pictures that explain the loss, and curves of fitted models.

Each function draws on the `ax` it is given, or on a new one, and returns it. They need Matplotlib
(``pip install 'boostfocal[plots]'``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import validation
from .base import GAMMA
from .focal import FocalLoss
from .metrics.scores import calibration_bins

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GAMMAS = (0.0, 0.5, 1.0, 2.0, 5.0)
GUIDE: dict[str, Any] = {"color": "0.5", "linewidth": 0.8, "linestyle": (0, (4, 4))}


def loss_curves(gammas: Sequence[float] = GAMMAS, ax: Axes | None = None) -> Axes:
    """Focal loss against p_t, the probability of the true class (Lin et al. 2017, fig. 1).

    Parameters
    ----------
    gammas : sequence of float
        One line each; 0 is cross-entropy.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> loss_curves([0.0, 2.0]).get_ylabel()
    'loss'
    """
    checked = _gammas(gammas)
    ax = _axes(ax)
    p = np.linspace(1e-3, 1, 1000)
    for gamma in checked:
        ax.plot(p, -((1 - p) ** gamma) * np.log(p), label=_gamma_label(gamma))
    ax.set(xlabel="$p_t$, probability of the true class", ylabel="loss", xlim=(0, 1), ylim=(0, 5))
    ax.legend(frameon=False)
    return ax


def loss_ratio(gammas: Sequence[float] = (0.5, 1.0, 2.0, 5.0), ax: Axes | None = None) -> Axes:
    """Cross-entropy divided by focal loss, (1 - p_t)^-gamma: how much less a row counts.

    Parameters
    ----------
    gammas : sequence of float
        One line each.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> loss_ratio([2.0]).get_ylabel()
    'cross-entropy / focal loss'
    """
    checked = _gammas(gammas)
    ax = _axes(ax)
    p = np.linspace(0, 0.999, 1000)
    for gamma in checked:
        ax.semilogy(p, (1 - p) ** -gamma, label=_gamma_label(gamma))
    ax.set(
        xlabel="$p_t$, probability of the true class", ylabel="cross-entropy / focal loss", xlim=(0, 1), ylim=(1, 1e4)
    )
    ax.legend(frameon=False)
    return ax


def derivatives(loss: FocalLoss | None = None, ax: Axes | None = None) -> Axes:
    """Gradient and Hessian of a positive row against its margin; shaded where the exact Hessian is negative.

    Parameters
    ----------
    loss : FocalLoss, default FocalLoss(2.0)
        Its gamma and alpha are used; both Hessians are drawn, without a bound on the step.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> from boostfocal import FocalLoss
    >>> ax = derivatives(FocalLoss(2.0, hessian="exact"))
    """
    loss = _of_one_label(FocalLoss() if loss is None else loss)
    ax = _axes(ax)
    z = np.linspace(-8, 8, 801)
    curves = {}
    for hessian in ("exact", "expected"):
        variant = FocalLoss(loss.gamma, loss.alpha, hessian, np.inf)
        gradient, curves[hessian] = variant.gradient_hessian(np.ones_like(z), z)
    ax.axhline(0, **GUIDE)
    ax.plot(z, gradient, label="gradient")
    ax.plot(z, curves["expected"], label="expected Hessian")
    (exact,) = ax.plot(z, curves["exact"], label="exact Hessian")
    negative = curves["exact"] < 0
    if negative.any():
        ax.fill_between(
            z, curves["exact"], 0, where=negative, color=exact.get_color(), alpha=0.25, linewidth=0,
            label="exact Hessian below 0",
        )  # fmt: skip
    ax.set(xlabel="margin of a positive row", ylabel="derivative of the loss", xlim=(z[0], z[-1]))
    ax.legend(frameon=False, loc="lower right")
    return ax


def posterior(losses: Sequence[FocalLoss] | None = None, ax: Axes | None = None) -> Axes:
    """Probability of the positive class against the margin, next to the sigmoid, which is not the same.

    Parameters
    ----------
    losses : sequence of FocalLoss, optional
        One line each; by default gamma 1, 2 and 5.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> from boostfocal import FocalLoss
    >>> ax = posterior([FocalLoss(1.0), FocalLoss(2.0, 0.25)])
    """
    shown = [_of_one_label(loss) for loss in losses or [FocalLoss(1.0), FocalLoss(2.0), FocalLoss(5.0)]]
    ax = _axes(ax)
    z = np.linspace(-8, 8, 801)
    ax.plot(z, FocalLoss(0).predict_proba(z), label="sigmoid", **{**GUIDE, "linewidth": 1.2})
    for loss in shown:
        alpha = "" if loss.alpha is None else f", alpha {loss.alpha:g}"
        ax.plot(z, loss.predict_proba(z), label=f"gamma {_shown(loss.gamma)}{alpha}")
    ax.set(xlabel="margin", ylabel="probability of the positive class", xlim=(z[0], z[-1]), ylim=(0, 1))
    ax.legend(frameon=False)
    return ax


def precision_recall(y: ArrayLike, scores: Mapping[str, ArrayLike], ax: Axes | None = None) -> Axes:
    """Precision against recall of fitted models, with the share of positives as the level of chance.

    Parameters
    ----------
    y : array_like of shape (n,)
        Labels, 0 or 1.
    scores : mapping of str to array_like of shape (n,)
        For each model its probabilities or margins.
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> ax = precision_recall([0, 1, 1, 0], {"model": [0.2, 0.7, 0.6, 0.65]})
    >>> ax.get_xlabel()
    'recall'
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve

    labels, columns = _columns(y, scores)
    ax = _axes(ax)
    for name, column in columns.items():
        precision, recall, _ = precision_recall_curve(labels, column)
        # the last point, precision 1 at recall 0, is a convention and has no threshold
        area = average_precision_score(labels, column)
        ax.step(recall[:-1], precision[:-1], where="post", label=f"{name}, average precision {area:.3f}")
    ax.axhline(labels.mean(), **GUIDE)
    ax.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    ax.legend(frameon=False)
    return ax


def reliability(y: ArrayLike, probabilities: Mapping[str, ArrayLike], bins: int = 10, ax: Axes | None = None) -> Axes:
    """Share of positives against probability, in bins of about equal numbers of rows.

    The axes are logarithmic, since most probabilities of a rare class are small. Bins without a positive are
    not shown.

    Parameters
    ----------
    y : array_like of shape (n,)
        Labels, 0 or 1.
    probabilities : mapping of str to array_like of shape (n,)
        For each model, in [0, 1].
    bins : int, default 10
    ax : Axes, optional
        Where to draw.

    Examples
    --------
    >>> ax = reliability([0, 1, 1, 0], {"model": [0.2, 0.7, 0.6, 0.65]}, bins=2)
    >>> ax.get_xlabel()
    'probability'
    """
    labels, columns = _columns(y, probabilities)
    bins = validation.count("bins", bins)
    for name, column in columns.items():
        validation.probabilities(f"probabilities[{name!r}]", column)
    ax = _axes(ax)
    for name, column in columns.items():
        mean, share, _ = calibration_bins(labels, column, bins)
        shown = (share > 0) & (mean > 0)
        ax.loglog(mean[shown], share[shown], marker="o", markersize=4, label=name)
    ax.axline((0.1, 0.1), (1, 1), **GUIDE)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.set(xlabel="probability", ylabel="share of positives")
    ax.legend(frameon=False)
    return ax


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(6, 4), layout="constrained")[1]


def _columns(y: ArrayLike, scores: Mapping[str, ArrayLike]) -> tuple[NDArray[np.bool_], dict[str, NDArray[Any]]]:
    if not isinstance(scores, Mapping) or not scores:
        raise TypeError(f"scores must map the name of each model to its scores, got {scores!r}")
    labels = validation.column("y", y)
    columns = {name: validation.like(f"scores[{name!r}]", column, labels, "y") for name, column in scores.items()}
    return validation.binary(labels, None, "a curve"), columns


def _of_one_label(loss: FocalLoss) -> FocalLoss:
    if not isinstance(loss, FocalLoss) or np.ndim(loss.gamma) > 1 or np.ndim(loss.alpha or 0) > 0:
        raise TypeError(f"loss must be a FocalLoss of one label, got {loss!r}")
    return loss


def _gammas(gammas: Sequence[float]) -> list[float]:
    if not np.iterable(gammas):
        raise TypeError(f"gammas must be a sequence of numbers, got {gammas!r}")
    return [validation.number("gamma", gamma, GAMMA) for gamma in gammas]


def _gamma_label(gamma: float) -> str:
    return "gamma 0, cross-entropy" if gamma == 0 else f"gamma {gamma:g}"


def _shown(gamma: Any) -> str:
    return f"({gamma[0]:g}, {gamma[1]:g})" if isinstance(gamma, tuple) else f"{gamma:g}"
