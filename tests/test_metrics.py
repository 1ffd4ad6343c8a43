"""The metrics, each against a slow computation of its definition."""

import copy
import pickle
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from reference import mp
from sklearn.metrics import roc_auc_score

from boostfocal import (
    AveragePrecision,
    Brier,
    CardPrecision,
    FocalLoss,
    LogLoss,
    PartialAUC,
    PrecisionAtK,
    RecallAtFalsePositiveRate,
    RecallAtPrecision,
)
from boostfocal.metrics import Metric

LOSSES = [FocalLoss(0, max_step=np.inf), FocalLoss(2.0, 0.25), FocalLoss((0.7, 2.2), 0.9)]
every_loss = pytest.mark.parametrize("loss", LOSSES, ids=repr)
every_seed = pytest.mark.parametrize("seed", range(5))

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def rows(seed: int, n: int = 120, *, ties: bool = True) -> Rows:
    """Labels, margins (with many ties or none) and weights, some of them 0."""
    rng = np.random.default_rng(seed)
    labels = (rng.uniform(size=n) < 0.3).astype(np.int64)
    margins = rng.normal(size=n) + labels
    return labels, np.round(margins * 2) / 2 if ties else margins, rng.integers(0, 4, n).astype(np.float64)


def every_metric(n: int) -> list[Metric]:
    rng = np.random.default_rng(0)
    card, day = rng.integers(0, 1 + n // 5, n), rng.integers(0, 4, n)
    loss = FocalLoss(2.0, 0.25)
    return [
        loss.metric, LogLoss(loss), Brier(loss), AveragePrecision(), PrecisionAtK(7), RecallAtPrecision(0.5),
        RecallAtFalsePositiveRate(0.1), PartialAUC(0.2), CardPrecision(3, card, day),
    ]  # fmt: skip


# --- losses and probabilities ----------------------------------------------------------------------


@every_loss
@pytest.mark.parametrize("kind", ["hard", "soft", "weighted"])
def test_focal_metric_is_the_weighted_mean_of_value(loss: FocalLoss, kind: str) -> None:
    labels, margins, weights = rows(0, 5000, ties=False)
    y = np.random.default_rng(1).uniform(size=labels.size) if kind == "soft" else labels
    weight = weights if kind == "weighted" else None
    expected = np.average(loss.value(y, margins), weights=weight)
    assert loss.metric.score(y, margins, weight) == pytest.approx(expected, rel=1e-6)
    assert loss.mean(y, margins, weight) == loss.metric.score(y, margins, weight)


@every_loss
@pytest.mark.parametrize("weighted", [False, True])
def test_log_loss_and_brier_match_50_digit_reference(loss: FocalLoss, weighted: bool) -> None:
    rng = np.random.default_rng(0)
    margins = np.concatenate([rng.normal(scale=3, size=40), rng.uniform(-60, 60, 10)])
    y = np.concatenate([rng.integers(0, 2, 40), rng.uniform(size=10)])
    weight = rng.exponential(size=50) if weighted else np.ones(50)
    surprises, squares = [], []
    for label, margin, w in zip(y, margins, weight, strict=True):
        odds = mp.exp(reference.row(float(margin), loss.gamma, loss.alpha).log_odds)
        positive, negative, label = odds / (1 + odds), 1 / (1 + odds), mp.mpf(float(label))
        surprises.append(-w * (label * mp.log(positive) + (1 - label) * mp.log(negative)))
        squares.append(w * (positive - label) ** 2)
    given_weight = weight if weighted else None
    total = float(weight.sum())
    assert LogLoss(loss).score(y, margins, given_weight) == pytest.approx(float(mp.fsum(surprises)) / total, rel=1e-12)
    assert Brier(loss).score(y, margins, given_weight) == pytest.approx(float(mp.fsum(squares)) / total, rel=1e-12)


def test_log_loss_is_that_of_predict_proba_and_not_of_the_sigmoid() -> None:
    loss, (labels, margins, _) = FocalLoss(2.0, 0.25), rows(0)
    eta, sigmoid = loss.predict_proba(margins), 1 / (1 + np.exp(-margins))
    of_eta, of_sigmoid = (-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)) for p in (eta, sigmoid))
    assert LogLoss(loss).score(labels, margins) == pytest.approx(of_eta, rel=1e-12)
    assert abs(of_eta - of_sigmoid) > 0.05


@every_loss
def test_infinite_margins_are_certain_rows(loss: FocalLoss) -> None:
    right, wrong = ([0, 1], [-np.inf, np.inf]), ([0, 1], [np.inf, -np.inf])
    assert LogLoss(loss).score(*right) == 0
    assert LogLoss(loss).score(*wrong) == np.inf
    assert Brier(loss).score(*right) == 0
    assert Brier(loss).score(*wrong) == 1


def test_log_loss_far_out_is_the_log_odds() -> None:
    loss = FocalLoss(2.0)
    for margin in (-1e5, -1e30):
        assert LogLoss(loss).score([1], [margin]) == pytest.approx(-float(loss.log_odds(margin)), rel=1e-12)
        assert LogLoss(loss).score([0], [margin]) == 0


# --- ranking ---------------------------------------------------------------------------------------


def precision_and_recall(labels: np.ndarray, margins: np.ndarray, weights: np.ndarray) -> list[tuple[float, float]]:
    """At each threshold that a margin is, from the highest; thresholds that take no weight have no precision."""
    result = []
    for threshold in sorted(set(margins.tolist()), reverse=True):
        taken = margins >= threshold
        hits = weights[taken & (labels == 1)].sum()
        if weights[taken].sum() > 0:
            result.append((float(hits / weights[taken].sum()), float(hits / weights[labels == 1].sum())))
    return result


@every_seed
@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_average_precision_matches_its_definition(seed: int, ties: bool, weighted: bool) -> None:
    labels, margins, weights = rows(seed, ties=ties)
    expected, reached = 0.0, 0.0
    for precision, recall in precision_and_recall(labels, margins, weights if weighted else np.ones(labels.size)):
        expected += precision * (recall - reached)
        reached = recall
    assert AveragePrecision().score(labels, margins, weights if weighted else None) == pytest.approx(
        expected, rel=1e-12
    )


@every_seed
@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_recall_at_precision_is_the_best_over_all_thresholds(seed: int, ties: bool, weighted: bool) -> None:
    labels, margins, weights = rows(seed, ties=ties)
    points = precision_and_recall(labels, margins, weights if weighted else np.ones(labels.size))
    for wanted in (0.1, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0):
        expected = max((recall for precision, recall in points if precision >= wanted), default=0.0)
        score = RecallAtPrecision(wanted).score(labels, margins, weights if weighted else None)
        assert score == pytest.approx(expected, rel=1e-12)


def test_recall_is_0_if_no_threshold_reaches_the_precision() -> None:
    assert RecallAtPrecision(0.9).score([0, 1, 0, 1], [3.0, 2.0, 1.0, 0.0]) == 0
    assert RecallAtPrecision(0.5).score([0, 1, 0, 1], [3.0, 2.0, 1.0, 0.0]) == 1


@pytest.mark.parametrize("k", range(1, 8))
@pytest.mark.parametrize("margins", [[2, 1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1], [7, 6, 5, 4, 3, 2, 1]])
def test_precision_at_k_is_the_mean_over_all_orders_of_ties(k: int, margins: list[int]) -> None:
    labels = [0, 1, 0, 1, 1, 0, 0]
    precisions = []
    for order in permutations(range(7)):
        ranked = sorted(order, key=lambda row: -margins[row])  # stable: ties stay in this order
        precisions.append(np.mean([labels[row] for row in ranked[:k]]))
    assert PrecisionAtK(k).score(labels, margins) == pytest.approx(np.mean(precisions), rel=1e-12)


@every_seed
def test_precision_at_k_does_not_depend_on_the_order_of_rows(seed: int) -> None:
    labels, margins, weights = rows(seed)
    order = np.random.default_rng(seed).permutation(labels.size)
    for k in (1, 10, 50):
        metric = PrecisionAtK(k)
        assert metric.score(labels[order], margins[order]) == pytest.approx(metric.score(labels, margins), rel=1e-12)
        expected = metric.score(labels, margins, weights + 1)
        assert metric.score(labels[order], margins[order], weights[order] + 1) == pytest.approx(expected, rel=1e-12)


@every_seed
def test_weighted_precision_at_k_is_the_positives_share_of_the_weight_of_k_rows(seed: int) -> None:
    labels, margins, weights = rows(seed, ties=False)
    for k in (3, 20, 120):
        first = np.argsort(-margins)[:k]
        expected = weights[first] @ labels[first] / weights[first].sum()
        assert PrecisionAtK(k).score(labels, margins, weights) == pytest.approx(expected, rel=1e-12)


def test_precision_at_more_than_all_rows_is_the_share_of_positives() -> None:
    assert PrecisionAtK(100).score([0, 1, 1, 0], [4.0, 3.0, 2.0, 1.0]) == 0.5


@pytest.mark.parametrize(
    "metric", [LogLoss(LOSSES[1]), Brier(LOSSES[1]), LOSSES[1].metric, AveragePrecision()], ids=repr
)
@every_seed
def test_weights_count_as_repeated_rows(metric: Metric, seed: int) -> None:
    labels, margins, weights = rows(seed)
    repeated = [np.repeat(column, weights.astype(int)) for column in (labels, margins)]
    # the focal metric takes its rows in float32
    assert metric.score(labels, margins, weights) == pytest.approx(metric.score(*repeated), rel=1e-6)


@every_seed
@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("weighted", [False, True])
def test_recall_at_false_positive_rate_is_the_best_over_all_thresholds(seed: int, ties: bool, weighted: bool) -> None:
    labels, margins, weights = rows(seed, ties=ties)
    weight = weights if weighted else np.ones(labels.size)
    positive, negative = weight * (labels == 1), weight * (labels == 0)
    points = [(negative[margins >= t].sum() / negative.sum(), positive[margins >= t].sum() / positive.sum())
              for t in np.unique(margins)]  # fmt: skip
    for wanted in (0.0, 0.01, 0.1, 0.5):
        expected = max((recall for false, recall in points if false <= wanted), default=0.0)
        score = RecallAtFalsePositiveRate(wanted).score(labels, margins, weights if weighted else None)
        assert score == pytest.approx(expected, rel=1e-12)


@every_seed
@pytest.mark.parametrize("weighted", [False, True])
def test_partial_auc_is_that_of_scikit_learn(seed: int, weighted: bool) -> None:
    labels, margins, weights = rows(seed)
    weight = weights if weighted else None
    for limit in (0.01, 0.3, 1.0):
        expected = roc_auc_score(labels, margins, sample_weight=weight, max_fpr=limit)
        assert PartialAUC(limit).score(labels, margins, weight) == pytest.approx(expected, rel=1e-12)
    assert PartialAUC(0.001).score([0, 1], [0.0, np.inf]) == 1


@every_seed
def test_weights_count_as_repeated_rows_for_recall_at_precision(seed: int) -> None:
    labels, margins, weights = rows(seed)
    repeated = [np.repeat(column, weights.astype(int)) for column in (labels, margins)]
    for limit in (0.3, 0.5, 0.8):
        at_rate = RecallAtFalsePositiveRate(limit)
        assert at_rate.score(labels, margins, weights) == pytest.approx(at_rate.score(*repeated), rel=1e-12)
        metric = RecallAtPrecision(limit)
        assert metric.score(labels, margins, weights) == pytest.approx(metric.score(*repeated), rel=1e-12)


@given(st.lists(st.tuples(st.booleans(), st.integers(-3, 3)), min_size=1, max_size=30), st.integers(1, 12))
def test_ranking_metrics_take_any_increasing_function_of_the_margin(rows: list[tuple[bool, int]], k: int) -> None:
    labels = np.array([label for label, _ in rows] + [True])
    margins = np.array([margin for _, margin in rows] + [0])
    for metric in (AveragePrecision(), PrecisionAtK(k), RecallAtPrecision(0.5), RecallAtFalsePositiveRate(0.2)):
        if isinstance(metric, RecallAtFalsePositiveRate) and labels.all():
            continue  # there is no negative row
        score = metric.score(labels, margins)
        assert 0 <= score <= 1
        assert metric.score(labels, 1 / (1 + np.exp(-margins))) == score
        assert metric.score(labels, np.where(margins == 3, np.inf, np.where(margins == -3, -np.inf, margins))) == score


# --- cards -----------------------------------------------------------------------------------------


def card_precision_by_days(k: int, card: np.ndarray, day: np.ndarray, labels: np.ndarray, margins: np.ndarray) -> float:
    """Le Borgne et al. 2022, ch. 4.3: a loop over the days of a table."""
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"card": card, "day": day, "fraud": labels, "score": margins})
    detected: set[Any] = set()
    precisions = []
    for _, rows_of_day in table.groupby("day"):
        open_rows = rows_of_day[~rows_of_day["card"].isin(detected)]
        cards = open_rows.groupby("card").max().reset_index()
        alerted = cards.sort_values(["score", "card"], ascending=[False, True]).head(k)
        found = list(alerted.loc[alerted["fraud"] == 1, "card"])
        detected.update(found)
        precisions.append(len(found) / k)
    return float(np.mean(precisions))


@every_seed
@pytest.mark.parametrize("k", [1, 3, 20, 100])
@pytest.mark.parametrize("ties", [True, False])
def test_card_precision_matches_a_loop_over_days(seed: int, k: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    labels, margins, weights = rows(seed, 400, ties=ties)
    card, day = rng.integers(100, 160, 400), rng.choice([3, 4, 8, 9, 20], 400)
    metric = CardPrecision(k, card, day)
    expected = card_precision_by_days(k, card, day, labels, margins)
    assert metric.score(labels, margins) == pytest.approx(expected, rel=1e-12)
    assert metric.score(labels, margins, weights) == pytest.approx(expected, rel=1e-12)


def test_card_precision_takes_names_and_dates() -> None:
    rng = np.random.default_rng(0)
    labels, margins, _ = rows(0)
    card, day = rng.integers(10, 40, 120), rng.integers(10, 14, 120)
    named = CardPrecision(4, [f"card {c}" for c in card], np.datetime64("2024-01-01") + day)
    assert named.score(labels, margins) == CardPrecision(4, card, day).score(labels, margins)


def test_card_detected_on_an_earlier_day_is_not_alerted_again() -> None:
    card, day = np.array([1, 2, 1, 2]), np.array([0, 0, 1, 1])
    # day 0: card 1 alerted and found; day 1: card 1 is out, card 2 alerted and found
    assert CardPrecision(1, card, day).score([1, 0, 1, 1], [2.0, 1.0, 2.0, 1.0]) == 1
    # a card alerted in vain stays open
    assert CardPrecision(1, card, day).score([0, 0, 1, 1], [2.0, 1.0, 2.0, 1.0]) == 0.5


# --- what callers get and what is refused ----------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
def test_each_convention_gets_the_form_it_expects(weighted: bool) -> None:
    xgb, lgb = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    labels, margins, weights = rows(0)
    weight = weights if weighted else None
    features = np.zeros((labels.size, 1))
    matrix = xgb.DMatrix(features, labels, weight=weight)
    dataset = lgb.Dataset(features, labels, weight=weight, params={"verbose": -1}).construct()
    for metric in every_metric(labels.size):
        score = metric.score(labels, margins, weight)
        assert type(score) is float
        assert metric.__name__ == metric.name
        assert metric(margins, matrix) == (metric.name, score)
        assert metric(margins, dataset) == (metric.name, score, metric.greater_is_better)
        assert metric(labels, margins, sample_weight=weight) == score
        assert metric(labels, margins, weight, None) == (metric.name, score, metric.greater_is_better)
        if not weighted:
            assert metric(labels, margins) == score


def test_objective_is_the_same_in_each_convention() -> None:
    xgb, lgb = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    loss, (labels, margins, weights) = FocalLoss(2.0, 0.25), rows(0)
    features = np.zeros((labels.size, 1))
    matrix = xgb.DMatrix(features, labels, weight=weights)
    dataset = lgb.Dataset(features, labels, weight=weights, params={"verbose": -1}).construct()
    expected = loss.gradient_hessian(labels, margins, weights)
    for result in (
        loss(margins, matrix),
        loss(margins, dataset),
        loss(labels, margins, weights),
        loss(labels, margins, sample_weight=weights),
    ):
        assert_allclose(result, expected, rtol=0)
    assert_allclose(loss(labels, margins), loss.gradient_hessian(labels, margins), rtol=0)


def test_metrics_are_values() -> None:
    for metric, again in zip(every_metric(120), every_metric(120), strict=True):
        labels, margins, _ = rows(0)
        for duplicate in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
            assert duplicate.score(labels, margins) == metric.score(labels, margins)
        if not isinstance(metric, CardPrecision):
            assert metric == again == pickle.loads(pickle.dumps(metric))
            assert hash(metric) == hash(again)
            assert eval(repr(metric), {**globals(), "FocalMetric": type(LOSSES[0].metric)}) == metric


@pytest.mark.parametrize(
    ("metric", "y", "margin", "message"),
    [
        (AveragePrecision(), [0, 0], [1, 2], "y must have a positive row for average precision, got 2 rows"),
        (PrecisionAtK(1), [0, 0], [1, 2], "y must have a positive row for precision at k"),
        (RecallAtPrecision(0.5), [0, 0], [1, 2], "y must have a positive row for recall at a precision"),
        (PartialAUC(0.5), [0, 0], [1, 2], "y must have a positive row for a partial AUC"),
        (PartialAUC(0.5), [1, 1], [1, 2], "y must have a negative row of positive weight for a partial AUC"),
        (RecallAtFalsePositiveRate(0.5), [1, 1], [1, 2], "y must have a negative row"),
        (CardPrecision(1, [1, 2], [1, 1]), [0, 0], [1, 2], "y must have a positive row for card precision"),
        (CardPrecision(1, [1, 2], [1, 1]), [0, 1, 1], [1, 2, 3], "card and day must have .*3.*2"),
        (AveragePrecision(), [0, 0.5], [1, 2], "y must be 0 or 1 for average precision, got 0.5 at index 1"),
        (PrecisionAtK(1), [0.5, 1], [1, 2], "y must be 0 or 1 for precision at k, got 0.5 at index 0"),
        (RecallAtPrecision(0.5), [0.5, 1], [1, 2], "y must be 0 or 1 for recall at a precision, got 0.5"),
    ],
    ids=str,
)
def test_labels_that_a_metric_cannot_count_are_refused(metric: Metric, y: Any, margin: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        metric.score(y, margin)


@pytest.mark.parametrize(
    ("y", "margin", "weight", "error", "message"),
    [
        ([0, 2], [0, 0], None, ValueError, "y must be .*2 at index 1"),
        ([0, 1], [0, np.nan], None, ValueError, "margin must be .*nan at index 1"),
        ([0, 1], [0], None, ValueError, r"margin must have shape \(2,\).*\(1,\)"),
        ([0, 1], [0, 0], [1, -1], ValueError, "sample_weight must be .*-1 at index 1"),
        ([0, 1], [0, 0], [1, np.inf], ValueError, "sample_weight must be .*inf at index 1"),
        ([0, 1], [0, 0], [1], ValueError, r"sample_weight must have shape \(2,\).*\(1,\)"),
        ([], [], None, ValueError, r"y must have at least one row, got shape \(0,\)"),
        (["a", "b"], [0, 0], None, TypeError, "y must be numbers"),
    ],
)
def test_rows_not_accepted_are_refused_by_every_metric(
    y: Any, margin: Any, weight: Any, error: type[Exception], message: str
) -> None:
    for metric in every_metric(2):
        with pytest.raises(error, match=f"^{message}"):
            metric.score(y, margin, weight)


@pytest.mark.parametrize("metric", [LogLoss(LOSSES[1]), Brier(LOSSES[1]), LOSSES[1].metric, PrecisionAtK(1)], ids=repr)
def test_weights_that_sum_to_zero_are_refused(metric: Metric) -> None:
    with pytest.raises(ValueError, match="sample_weight must not sum to zero"):
        metric.score([0, 1], [0.0, 1.0], [0, 0])


@pytest.mark.parametrize("metric", [AveragePrecision(), RecallAtPrecision(0.5)], ids=repr)
def test_weights_that_leave_no_positive_row_are_refused(metric: Metric) -> None:
    with pytest.raises(ValueError, match="sample_weight must be above 0 for a positive row"):
        metric.score([0, 1], [0.0, 1.0], [1, 0])


def test_a_ranking_metric_of_several_columns_names_the_macro_average() -> None:
    with pytest.raises(ValueError, match=r"^margin must have shape \(n,\) .* MacroAveragePrecision"):
        AveragePrecision().score([0, 1], [[0.0, 1.0], [1.0, 0.0]])


def test_cards_that_cannot_be_ordered_are_refused() -> None:
    with pytest.raises(TypeError, match="card must be values of one kind"):
        CardPrecision(1, np.array([1, "a"], object), [1, 1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PrecisionAtK(0), "k must be .*0"),
        (lambda: PrecisionAtK(2.5), "k must be .*2.5"),
        (lambda: PrecisionAtK(True), "k must be .*True"),
        (lambda: RecallAtPrecision(0), "precision must be .*0"),
        (lambda: RecallAtPrecision(1.1), "precision must be .*1.1"),
        (lambda: RecallAtPrecision(float("nan")), "precision must be .*nan"),
        (lambda: RecallAtFalsePositiveRate(1.0), "false_positive_rate must be .*1.0"),
        (lambda: RecallAtFalsePositiveRate(-0.1), "false_positive_rate must be .*-0.1"),
        (lambda: PartialAUC(0), "max_fpr must be .*0"),
        (lambda: CardPrecision(0, [1], [1]), "k must be .*0"),
        (lambda: CardPrecision(1, [1, 2], [1]), r"day must have shape \(2,\).*\(1,\)"),
        (lambda: CardPrecision(1, [], []), r"card must have shape \(n,\).*\(0,\)"),
    ],
)
def test_metric_parameters_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
