"""New leaf values for existing trees: those that recent rows would have given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..base import Float64s
from ..posterior import Loss


@dataclass(frozen=True)
class Penalties:
    """What an engine's leaf value depends on, besides its gradients and Hessians."""

    l1: float
    l2: float
    max_step: float
    """Of a leaf; 0 is none."""

    def value(self, gradient: Float64s, hessian: Float64s) -> Float64s:
        """The Newton step of each leaf, as both engines compute it."""
        pulled = np.sign(gradient) * np.maximum(np.abs(gradient) - self.l1, 0)
        step = -pulled / np.maximum(hessian + self.l2, np.finfo(np.float32).tiny)
        return np.clip(step, -self.max_step, self.max_step) if self.max_step > 0 else step


def refitted(
    loss: Loss,
    y: NDArray[np.intp],
    sample_weight: ArrayLike | None,
    leaves: NDArray[Any],
    values: Sequence[Float64s],
    classes: Sequence[int],
    rates: Sequence[float],
    penalties: Sequence[Penalties],
    start: NDArray[np.float64],
    decay: float,
) -> list[Float64s]:
    """New leaf values of every tree; each tree is fitted to what the trees before it leave.

    Parameters
    ----------
    leaves : ndarray of shape (n, n_trees)
        The leaf of each tree that a row falls into.
    values : n_trees arrays
        The present values, by leaf.
    classes, rates, penalties : of n_trees
        The class of each tree's margin, its learning rate and its penalties. Trees of one round come together.
    start : ndarray of shape (K,), or (1,) for two classes
    decay : float
        Share of the present value that a leaf keeps. A leaf without a row keeps all of it.

    Returns
    -------
    list of n_trees ndarrays
    """
    margins = np.tile(start, (y.size, 1))
    result = []
    derivatives: tuple[NDArray[Any], ...] = ()
    for tree, (present, k, rate, own) in enumerate(zip(values, classes, rates, penalties, strict=True)):
        if tree == 0 or k < classes[tree - 1] or start.size == 1:  # a new round
            given = margins if start.size > 1 else margins[:, 0]
            found = loss.gradient_hessian(y, given, sample_weight)
            derivatives = tuple(np.reshape(values, margins.shape) for values in found)
        leaf = leaves[:, tree]
        gradient, hessian = (np.bincount(leaf, d[:, k], present.size) for d in derivatives)
        reached = np.bincount(leaf, minlength=present.size) > 0
        fitted = rate * own.value(gradient, hessian)
        new = np.where(reached, decay * present + (1 - decay) * fitted, present)
        margins[:, k] += new[leaf]
        result.append(new)
    return result


# --- what each round was trained with: runs of [number of rounds, their parameters], as JSON -------------------

Runs = list[list[Any]]


def with_round(runs: Runs, parameters: Mapping[str, float]) -> Runs:
    """The runs and one more round."""
    if runs and runs[-1][1] == parameters:
        return [*runs[:-1], [runs[-1][0] + 1, runs[-1][1]]]
    return [*runs, [1, dict(parameters)]]


def first_rounds(runs: Runs, n_rounds: int) -> Runs:
    """The runs up to a round."""
    result: Runs = []
    for count, parameters in runs:
        if n_rounds > 0:
            result.append([min(count, n_rounds), parameters])
        n_rounds -= count
    return result


def by_round(runs: Runs, n_rounds: int) -> list[dict[str, float]]:
    """The parameters of each round.

    Raises
    ------
    ValueError
        If some are not known, such as those of rounds that were added natively.
    """
    result = [dict(parameters) for count, parameters in runs for _ in range(min(int(count), n_rounds))]
    if len(result) < n_rounds:
        raise ValueError(
            "training_params must be given to from_booster for the leaves to be refitted: they are known for "
            f"{len(result)} of {n_rounds} rounds"
        )
    return result[:n_rounds]
