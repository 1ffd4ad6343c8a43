"""Whether a model still fits new labels: `check` of the classifiers."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_matrix
from scipy.stats import binomtest, t
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from test_classifiers import needs_categories

import boostfocal
from boostfocal import FocalLGBMClassifier, FocalXGBClassifier

CATEGORICAL: dict[Any, dict[str, Any]] = {FocalXGBClassifier: {"enable_categorical": True}, FocalLGBMClassifier: {}}
KINDS = pytest.mark.parametrize("kind", [FocalXGBClassifier, FocalLGBMClassifier])


def fitted(kind: Any, X: Any, y: Any, **parameters: Any) -> Any:
    shared: dict[str, Any] = {"n_estimators": 40, "max_depth": 4, "learning_rate": 0.2, "n_jobs": 1}
    shared |= {"verbosity": -1} if kind is FocalLGBMClassifier else {}
    return kind(**shared | parameters).fit(X, y)


def rows(n: int, seed: int, level: Any = 0.0, other: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Frauds of a rate that `level` moves; `other` brings in features that did not matter before."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5)).astype(np.float32)
    log_odds = -2.5 + level + 1.5 * X[:, 0] + X[:, 1] * (X[:, 2] > 0) + other * X[:, 3] * X[:, 4]
    return X, np.where(rng.random(n) < 1 / (1 + np.exp(-log_odds)), "fraud", "good")


@KINDS
def test_the_advice_follows_what_has_changed(kind: Any) -> None:
    model = fitted(kind, *rows(20_000, 0))
    assert model.check(*rows(4000, 1)).advice == "keep"
    assert model.check(*rows(2000, 1, level=1.0), cv=5).advice == "recalibrate"
    assert model.check(*rows(2000, 1, other=2.0), cv=5).advice == "retrain"


@KINDS
def test_leaves_are_refitted_where_the_splits_are_right_and_their_values_are_not(kind: Any) -> None:
    rng = np.random.default_rng(0)
    before = rng.uniform(0.02, 0.4, 120)
    after = np.where(rng.random(120) < 0.5, before, rng.uniform(0.02, 0.4, 120))
    group = rng.integers(0, 120, 24_000)
    X, label = group[:, None].astype(np.float32), rng.random(group.size)
    deep = {"max_depth": 9} if kind is FocalXGBClassifier else {"max_depth": -1, "num_leaves": 127}
    model = fitted(kind, X, label < before[group], **deep, n_estimators=60, learning_rate=0.4)
    found = model.check(X[:12_000], label[:12_000] < after[group[:12_000]], cv=5)
    assert found.advice == "refit_leaves"


def test_a_wrong_rate_is_enough_to_recalibrate() -> None:
    """Where so few labels show no gain in log loss beyond the interval."""
    model = fitted(FocalXGBClassifier, *rows(20_000, 0))
    found = model.check(*rows(1200, 6, level=0.3))
    keep, recalibrate, *_ = found.remedies
    assert abs(recalibrate.difference) < recalibrate.half_width
    assert keep.difference == 0
    assert not all(rate.in_the_large for rate in found.rates)
    assert found.advice == "recalibrate"


@KINDS
def test_figures_are_those_of_scikit_learn_and_scipy(kind: Any) -> None:
    model = fitted(kind, *rows(5000, 0))
    X, y = rows(2000, 1, level=0.5)
    found = model.check(X, y, cv=5)
    proba = model.predict_proba(X)
    for k, rate in enumerate(found.rates):
        is_k = y == model.classes_[k]
        interval = binomtest(int(is_k.sum()), y.size).proportion_ci(method="wilson")
        assert rate.label == model.classes_[k]
        assert_allclose(
            [rate.expected, rate.observed, rate.low, rate.high],
            [proba[:, k].mean(), is_k.mean(), interval.low, interval.high],
        )
    losses: dict[str, list[float]] = {"keep": [], "recalibrate": [], "refit_leaves": []}
    for learned, judged in StratifiedKFold(5, shuffle=True, random_state=0).split(X, y):
        for name, values in losses.items():
            other = fitted(kind, *rows(5000, 0))
            if name != "keep":
                getattr(other, name)(X[learned], y[learned])
            values.append(log_loss(y[judged], other.predict_proba(X[judged])))
    for remedy in found.remedies[:3]:
        values = np.array(losses[remedy.name])
        more = values - losses["keep"]
        assert_allclose(remedy.log_loss, values.mean(), rtol=1e-9)
        assert_allclose(remedy.difference, more.mean(), rtol=1e-7, atol=1e-15)
        half = t.ppf(0.975, 4) * np.sqrt((1 / 5 + 400 / 1600) * more.var(ddof=1))
        assert_allclose(remedy.half_width, half, rtol=1e-7, atol=1e-15)


@KINDS
def test_the_model_does_not_change_and_a_loaded_one_is_checked_alike(kind: Any, tmp_path: Path) -> None:
    model = fitted(kind, *rows(5000, 0))
    X, y = rows(2000, 1)
    before, state = model.predict_proba(X), model.state_
    found = model.check(X, y, cv=4)
    assert model.state_ is state
    assert_array_equal(model.predict_proba(X), before)
    model.save_model(tmp_path / "model")
    loaded = boostfocal.load(tmp_path / "model")
    loaded.set_params(n_jobs=1)
    again = loaded.check(X, y, cv=4)
    assert [remedy.name for remedy in again.remedies] == ["keep", "recalibrate", "refit_leaves", "retrain"]
    assert_allclose([r.log_loss for r in again.remedies], [r.log_loss for r in found.remedies], rtol=1e-6)
    assert model.check(X, y, cv=4) == found


@KINDS
def test_weights_count_as_rows_do(kind: Any) -> None:
    model = fitted(kind, *rows(5000, 0))
    X, y = rows(1000, 1)
    customer, twice = np.arange(y.size) % 50, np.repeat(np.arange(y.size), 2)
    weighted = model.check(X, y, np.full(y.size, 2.0), groups=customer, cv=4)
    repeated = model.check(X[twice], y[twice], groups=customer[twice], cv=4)
    for one, two in zip(weighted.remedies[:3], repeated.remedies[:3], strict=True):
        assert_allclose(one.log_loss, two.log_loss, rtol=1e-6)
    for rate, other in zip(weighted.rates, repeated.rates, strict=True):
        assert_allclose([rate.expected, rate.observed, rate.low, rate.high],
                        [other.expected, other.observed, other.low, other.high])  # fmt: skip
    light = np.where(y == "fraud", 0.5, 1.0)
    assert_allclose(model.check(X, y, light, cv=2).rates[0].observed, np.average(y == "fraud", weights=light))
    some = X[:, 0] > 0
    light = np.where(some, light, 0.0)
    half = model.check(X, y, light, groups=customer, cv=4)
    assert half == model.check(X[some], y[some], light[some], groups=customer[some], cv=4)
    assert half.rows == some.sum()
    assert half.rates[1].observed == pytest.approx(np.average((y == "good")[some], weights=light[some]))


@needs_categories
@KINDS
def test_classes_tables_and_categories(kind: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    kinds = pd.Categorical(rng.choice(list("abc"), 22_000))
    table = pd.DataFrame({"amount": rng.lognormal(3, 1, 22_000), "kind": kinds})
    score = np.log(table["amount"]) + (table["kind"] == "b") + rng.normal(size=22_000)
    y = np.digitize(score, [3.5, 5.0]) * 10
    model = fitted(kind, table[:20_000], y[:20_000], **CATEGORICAL[kind])
    found = model.check(table[20_000:], y[20_000:], cv=5)
    assert [rate.label for rate in found.rates] == [0, 10, 20]
    assert all(rate.in_the_large for rate in found.rates)
    assert found.advice in ("keep", "recalibrate")  # a model that learned noise is better for less slope
    lines = str(found).splitlines()
    assert lines[0].split()[0] == "class"
    assert lines[-1] == f"advice: {found.advice} (2000 rows)"
    model.save_model(tmp_path / "model")
    loaded = boostfocal.load(tmp_path / "model").set_params(n_jobs=1)
    for other, rows_ in ((loaded, table), (model, table.astype({"kind": object})), (loaded, table)):
        again = other.check(rows_[20_000:], y[20_000:], cv=5)
        losses = [[remedy.log_loss for remedy in each.remedies] for each in (again, found)]
        assert_allclose(*losses, rtol=1e-6)


@KINDS
def test_sparse_rows(kind: Any) -> None:
    X, y = rows(3000, 0)
    sparse = csr_matrix(np.where(X > 0, X, 0))
    model = fitted(kind, sparse, y)
    found = model.check(sparse, y, cv=5)
    assert all(remedy.log_loss is not None for remedy in found.remedies)


def test_rows_that_belong_together_are_kept_together_and_widen_the_interval() -> None:
    """Days that differ by chance are no change: rows alone would say so."""
    model = fitted(FocalXGBClassifier, *rows(20_000, 0))
    rng = np.random.default_rng(3)
    day = np.repeat(np.arange(30), 200)
    X, y = rows(day.size, 3, level=rng.normal(scale=0.8, size=30)[day])
    alone, together = (model.check(X, y, groups=g, cv=5) for g in (None, [f"day {one}" for one in day]))
    assert alone.advice == "recalibrate"
    assert together.advice == "keep"
    width = [found.rates[0].high - found.rates[0].low for found in (alone, together)]
    assert width[1] > 2 * width[0]
    # every row of a day has one label here, so folds that share a day would learn it by heart
    label = np.where(rng.random(30)[day] < 0.3, "fraud", "good")
    where = np.column_stack([day, rng.random((day.size, 4))]).astype(np.float32)
    learned, kept_apart = (
        fitted(FocalXGBClassifier, where, label).check(where, label, groups=g, cv=4) for g in (None, day)
    )
    assert kept_apart.remedies[3].log_loss > learned.remedies[3].log_loss


@pytest.mark.filterwarnings("ignore:.*dart. is deprecated")
def test_a_remedy_that_this_model_does_not_have_is_named() -> None:
    model = fitted(FocalXGBClassifier, *rows(3000, 0), booster="dart", rate_drop=0.1)
    found = model.check(*rows(1000, 1))
    assert found.remedies[2].log_loss is None
    assert "booster must be gbtree" in found.remedies[2].reason
    assert "refit_leaves  not tried: booster must be gbtree" in str(found)
    assert found.advice in ("keep", "recalibrate", "retrain")


@KINDS
def test_what_cannot_be_checked_is_refused(kind: Any) -> None:
    X, y = rows(500, 0)
    with pytest.raises(NotFittedError):
        kind().check(X, y)
    model = fitted(kind, X, y)
    with pytest.raises(ValueError, match=r"y must be labels of the classes \['fraud', 'good'\], got 'new'"):
        model.check(X[:3], ["good", "fraud", "new"])
    with pytest.raises(ValueError, match="X must have a row for each label of y, 499, got 500"):
        model.check(X, y[1:])
    few = np.flatnonzero(np.cumsum(y == "fraud") <= 4)
    with pytest.raises(
        ValueError, match=r"y must have 10 rows of each class, one for each fold of cv, got 4 of 'fraud'"
    ):
        model.check(X[few], y[few])
    with pytest.raises(ValueError, match=r"y must have 10 groups of each class, .*, got 5 of 'fraud'"):
        model.check(X, y, groups=np.arange(y.size) % 5)
    with pytest.raises(ValueError, match="groups must not be missing"):
        model.check(X, y, groups=np.where(X[:, 0] > 0, np.nan, 1.0))
    for cv in (1, 0, -3, 2.5):
        with pytest.raises((ValueError, TypeError), match="cv must be"):
            model.check(X, y, cv=cv)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="sample_weight must be"):
        model.check(X, y, -np.ones(y.size))
    with pytest.raises(ValueError, match="sample_weight must"):
        model.check(X, y, np.zeros(y.size))
    by_row = kind(n_estimators=3, n_jobs=1).fit(X, y, **{kind.START: np.zeros(y.size)})
    with pytest.raises(ValueError, match=f"{kind.START} must be given"):
        by_row.check(X, y)
