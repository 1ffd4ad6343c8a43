"""The loops over rows and classes that `softmax` runs. Read `elementwise_loops` first: this is written alike.

Two buffers hold numbers for a block of rows, one for each row of the block:

    row[field]         weight, label and largest class of the rows, and what follows from all margins: see `Fields`
    classes[k, field]  what there is of each class k: SHIFT, E, ...

A field whose numbers are no longer needed is used again under another name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

SHIFT, E, CURVATURE, ETA, EXCESS = range(5)  # of a class: margin less the largest, its exponential, ...
GRADIENT, HESSIAN = SHIFT, CURVATURE
CLASS_FIELDS = 5

QUARTER = float(np.finfo(np.float32).max / 4)  # margins are cut here, so that the difference of two is finite


class Fields(NamedTuple):
    """Numbers of the rows of a block."""

    weight: Any
    label: Any
    top: Any  # the class of the largest margin
    others: Any  # sum of the exponentials of the other classes
    thirds: Any  # and without that of the label
    inverse: Any  # of the sum of all
    log_total: Any
    own_shift: Any  # of the label's class
    own_e: Any
    own_alpha: Any
    psi: Any
    curvature: Any
    ratio: Any
    per_others: Any

    @property
    def loss(self) -> Any:
        return self.curvature

    @property
    def top_alpha(self) -> Any:
        return self.curvature

    @property
    def psi_over_q_top(self) -> Any:
        return self.own_shift

    @property
    def excess_top(self) -> Any:
        return self.own_e

    @property
    def total(self) -> Any:
        return self.own_alpha

    @property
    def excess_sum(self) -> Any:
        return self.thirds


ROW_FIELDS = len(Fields._fields)


def build(formula: str, constant_gamma: float | None, weighted: bool) -> Callable[..., None]:
    """The loops for a formula of `formulas`; with `constant_gamma`, a multiple of one half below 8, as a constant.

    As in `elementwise_loops`, every thread takes pieces until none is left, and tells if it met a value to refuse.
    """
    valued, expected = formula == "focal_loss", formula == "gradient_expected"

    def kernel(
        t: Any, progress: Any, step: Any, margins: Any, peak: Any, classes: Any, row: Any,
        y: Any, z: Any, z_start: Any, w: Any, alphas: Any, gamma: Any, inverse_max_step: Any,
        first: Any, second: Any, out_start: Any,
    ) -> None:  # fmt: skip
        gamma = gamma if constant_gamma is None else np.float32(constant_gamma)
        fields = Fields(*(row[field] for field in range(ROW_FIELDS)))
        for start, stop, signs in t.claimed(progress, y.size, step):
            for begin, end in t.parts(start, stop, margins.shape[1]):
                count = end - begin
                t.fetch(z, z_start + begin, count, margins)
                _copy(t, y[begin:end], fields.label)
                if weighted:
                    _copy(t, w[begin:end], fields.weight)
                _shift(t, margins, peak, classes, fields, signs)
                _sum(t, classes, fields, expected)
                _own_class(t, classes, fields, alphas, gamma, valued, signs)
                if expected:
                    _expected(t, classes, fields, alphas, gamma, inverse_max_step, signs)
                elif not valued:
                    _exact(t, classes, fields, signs)
                if valued:
                    _copy(t, fields.loss[0:count], first[out_start + begin : out_start + end])
                else:
                    t.store(classes, GRADIENT, first, out_start + begin, count)
                    t.store(classes, HESSIAN, second, out_start + begin, count)

    return kernel


def _copy(t: Any, source: Any, to: Any) -> None:
    for i in t.lanes(source.size):
        to[i] = source[i]


def _shift(t: Any, margins: Any, peak: Any, classes: Any, fields: Fields, signs: Any) -> None:
    """Each row's largest margin, and the distances from it; a NaN is to be refused."""
    n_classes, n = margins.shape
    for i in t.lanes(n):
        peak[i] = -QUARTER
        fields.top[i] = 0.0
    for k in t.loop(n_classes):
        column, number = margins[k], t.number(k)
        for i in t.lanes(n):
            margin, highest = t.minimum(t.maximum(column[i], -QUARTER), QUARTER), peak[i]
            higher = margin > highest
            column[i] = margin
            peak[i] = t.where(higher, margin, highest)
            fields.top[i] = t.where(higher, number, fields.top[i])
            signs.add(t.nonfinite(margin))
    for k in t.loop(n_classes):
        column, shift = margins[k], classes[k, SHIFT]
        for i in t.lanes(n):
            shift[i] = column[i] - peak[i]


def _sum(t: Any, classes: Any, fields: Fields, expected: bool) -> None:
    """Exponentials, and their sums."""
    n_classes, _, n = classes.shape
    for i in t.lanes(n):
        fields.others[i] = 0.0
        fields.thirds[i] = 0.0
    for k in t.loop(n_classes):
        shift, exponential, number = classes[k, SHIFT], classes[k, E], t.number(k)
        for i in t.lanes(n):
            e = t.exp(shift[i])
            exponential[i] = e
            other = t.where(fields.top[i] == number, 0.0, e)
            fields.others[i] = fields.others[i] + other
            if not expected:
                fields.thirds[i] = fields.thirds[i] + t.where(fields.label[i] == number, 0.0, other)
    for i in t.lanes(n):
        others = fields.others[i]
        fields.inverse[i] = 1.0 / (1.0 + others)
        fields.per_others[i] = 1.0 / t.maximum(others, t.TINY)
        fields.log_total[i] = t.log_total(others)


def _own_class(t: Any, classes: Any, fields: Fields, alphas: Any, gamma: Any, valued: bool, signs: Any) -> None:
    """The loss of each row, or what the derivatives of all classes take from the row's own."""
    against_rest, derivatives, loss = (t.formulas[name] for name in ("against_rest", "derivatives", "loss"))
    n_classes, _, n = classes.shape
    for i in t.lanes(n):
        label = fields.label[i]
        k = t.index(t.where((label >= 0.0) & (label < t.number(n_classes)), label, 0.0))
        signs.add_unless(label == t.number(k))
        fields.own_shift[i] = t.pick(classes, k, SHIFT, i)
        fields.own_e[i] = t.pick(classes, k, E, i)
        fields.own_alpha[i] = alphas[k]
    for i in t.lanes(n):
        signs.add(t.bits(fields.weight[i]))
        p, q, log_p, log_q = against_rest(
            fields.own_shift[i], fields.own_e[i], fields.label[i] == fields.top[i],
            fields.others[i], fields.inverse[i], fields.log_total[i],
        )  # fmt: skip
        if valued:
            value = fields.weight[i] * loss(q, log_p, log_q, fields.own_alpha[i], gamma)
            fields.loss[i] = value
            signs.add(t.nonfinite(value))
        else:
            fields.psi[i], fields.curvature[i] = derivatives(p, q, log_p, log_q, fields.own_alpha[i], gamma)
            fields.ratio[i] = fields.inverse[i] / t.maximum(q, t.TINY)


def _expected(t: Any, classes: Any, fields: Fields, alphas: Any, gamma: Any, inverse_max_step: Any, signs: Any) -> None:
    """The gradient, and the Hessian expected under the posterior."""
    names = "against_rest", "derivatives", "posterior_terms", "posterior", "expected_hessian"
    against_rest, derivatives, posterior_terms, posterior, expected_hessian = (t.formulas[name] for name in names)
    n_classes, _, n = classes.shape
    for i in t.lanes(n):
        fields.top_alpha[i] = alphas[t.index(fields.top[i])]
    for i in t.lanes(n):
        p, q, log_p, log_q = against_rest(0.0, 1.0, True, fields.others[i], fields.inverse[i], fields.log_total[i])
        psi, curvature = derivatives(p, q, log_p, log_q, fields.top_alpha[i], gamma)
        psi_over_q, excess = posterior_terms(q, psi, curvature, True)
        fields.psi_over_q_top[i] = psi_over_q
        fields.excess_top[i] = excess * fields.inverse[i]
        fields.total[i] = 0.0
        fields.excess_sum[i] = 0.0
    for k in t.loop(n_classes):
        shift, exponential, curvatures, etas, excesses = (classes[k, field] for field in range(CLASS_FIELDS))
        number, alpha = t.number(k), alphas[k]
        for i in t.lanes(n):
            is_top = fields.top[i] == number
            p, q, log_p, log_q = against_rest(
                shift[i], exponential[i], is_top, fields.others[i], fields.inverse[i], fields.log_total[i]
            )
            psi, curvature = derivatives(p, q, log_p, log_q, alpha, gamma)
            psi_over_q, excess = posterior_terms(q, psi, curvature, is_top)
            eta = posterior(p, psi_over_q, fields.psi_over_q_top[i], is_top)
            excess = t.where(is_top, 0.0, eta * excess)
            curvatures[i] = curvature
            etas[i] = eta
            excesses[i] = excess
            fields.total[i] = fields.total[i] + eta
            fields.excess_sum[i] = fields.excess_sum[i] + excess
    for i in t.lanes(n):
        fields.total[i] = fields.weight[i] / fields.total[i]
        fields.psi[i] = fields.psi[i] * fields.weight[i]
    for k in t.loop(n_classes):
        exponential, curvatures, etas, excesses = (classes[k, field] for field in (E, CURVATURE, ETA, EXCESS))
        gradients, hessians, number = classes[k, GRADIENT], classes[k, HESSIAN], t.number(k)
        for i in t.lanes(n):
            is_top = fields.top[i] == number
            e, others = exponential[i], fields.others[i]
            q = t.where(is_top, others, 1.0 + (others - e)) * fields.inverse[i]
            r = t.where(is_top, 0.0, e * fields.per_others[i])
            hessian = fields.total[i] * expected_hessian(
                e * fields.inverse[i], q, r, etas[i], curvatures[i], fields.psi_over_q_top[i],
                fields.excess_sum[i] - excesses[i], fields.excess_top[i],
            )  # fmt: skip
            gradient = fields.psi[i] * t.where(fields.label[i] == number, -1.0, e * fields.ratio[i])
            hessian = t.maximum(hessian, t.absolute(gradient) * inverse_max_step)
            gradients[i] = gradient
            hessians[i] = hessian
            signs.add(t.nonfinite(gradient + hessian))


def _exact(t: Any, classes: Any, fields: Fields, signs: Any) -> None:
    """The gradient and the exact Hessian."""
    other_derivatives = t.formulas["other_derivatives"]
    n_classes, _, n = classes.shape
    for k in t.loop(n_classes):
        exponential, gradients, hessians, number = classes[k, E], classes[k, GRADIENT], classes[k, HESSIAN], t.number(k)
        for i in t.lanes(n):
            label, top, psi, curvature = fields.label[i], fields.top[i], fields.psi[i], fields.curvature[i]
            own, r, thirds = label == number, exponential[i] * fields.ratio[i], fields.thirds[i] * fields.ratio[i]
            # for the class of the largest margin, 1 - r would cancel if another class is the true one
            cancels = (top == number) & ~(top == label)
            gradient, hessian = other_derivatives(psi, curvature, r, t.where(cancels, thirds, 1.0 - r))
            gradient = t.where(own, -psi, gradient) * fields.weight[i]
            hessian = t.where(own, curvature, hessian) * fields.weight[i]
            gradients[i] = gradient
            hessians[i] = hessian
            signs.add(t.nonfinite(gradient + hessian))
