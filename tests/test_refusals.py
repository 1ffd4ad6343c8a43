"""What the classifiers and `boostfocal compare` refuse, where no other test comes by: each names the argument."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from boostfocal import FocalLGBMClassifier, FocalLoss, FocalXGBClassifier
from boostfocal.compare import splits
from boostfocal.compare import table as tables
from boostfocal.compare.reading import DataError

xgb = pytest.importorskip("xgboost")
lgb = pytest.importorskip("lightgbm")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LOSS = FocalLoss(1.0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 2))
Y = (X[:, 0] + RNG.normal(size=300) > 1).astype(int)


def xgboost(**parameters: Any) -> Any:
    return FocalXGBClassifier(**{"n_estimators": 3, "n_jobs": 1, **parameters})


def lightgbm(**parameters: Any) -> Any:
    return FocalLGBMClassifier(**{"n_estimators": 3, "n_jobs": 1, "verbosity": -1, **parameters})


def xgboost_booster() -> Any:
    return xgb.train({"base_score": 0.0, "nthread": 1}, xgb.DMatrix(X, Y), 2, obj=LOSS)


def lightgbm_booster() -> Any:
    return lgb.train({"objective": LOSS, "verbosity": -1, "num_threads": 1}, lgb.Dataset(X, Y), 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FocalLGBMClassifier.from_booster(lightgbm_booster(), LOSS, [0, 1]), "start must be given"),
        (
            lambda: FocalLGBMClassifier.from_booster(lightgbm_booster(), LOSS, [0, 1], start=0.0, training_params={}),
            "training_params must be left out",
        ),
        (lambda: FocalXGBClassifier.from_booster(xgboost_booster(), LOSS, [0, 1], start=0.0), "start must be left out"),
        (lambda: xgboost().fit(X, Y, base_margin=Y, eval_set=[(X, Y)]), "base_margin_eval_set must be given"),
        (lambda: lightgbm().fit(X, Y, eval_X=X), "eval_X and eval_y must be given together"),
        (lambda: lightgbm().fit(X, Y, eval_X=X, eval_y=Y, eval_set=[(X, Y)]), "only one of eval_set, and eval_X"),
        (lambda: lightgbm().fit(X, np.zeros(300), init_model=lightgbm().fit(X, Y)), "y must have rows of every class"),
        (lambda: xgboost(sampling_rates="balanced").fit(X, Y), "sampling_rates must be positive numbers"),
        (lambda: lightgbm(sampling_rates="balanced").fit(X, Y), "sampling_rates must be positive numbers"),
        (lambda: xgboost().fit(X, Y, base_margin=Y).refit_leaves(X, Y), "a margin for each row cannot be refitted"),
        (lambda: xgboost(num_parallel_tree=2).fit(X, Y).refit_leaves(X, Y), "num_parallel_tree must be 1"),
        (
            lambda: xgboost(booster="dart", rate_drop=0.5, verbosity=0).fit(X, Y).refit_leaves(X, Y),
            "booster must be gbtree",
        ),
    ],
)
def test_classifiers_name_what_they_refuse(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        call()


FRAME = pd.DataFrame({"x": X[:, 0], "y": Y, "few": np.arange(300) // 299, "mixed": [b"a", 1.0] * 150})
TEXT = FRAME.assign(when=["soon", "later"] * 150)


@pytest.mark.parametrize(
    ("frame", "options", "message"),
    [
        (TEXT, {"time": "when"}, "--time 'when' must be numbers or ISO 8601 dates, got 'soon'"),
        (FRAME, {"time": "mixed"}, "--time 'mixed' must be numbers or dates, got neither numbers nor text"),
        (FRAME, {"time": "few"}, "--time must have at least 4 well-spread values, got 2"),
        (FRAME, {"group": "few"}, "--group must have at least 3 distinct values, got 2"),
    ],
)
def test_compare_names_what_it_refuses(frame: pd.DataFrame, options: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        splits.make_splits(tables.prepare("t", frame, "y", **options), folds=3, repeats=1, gap=None, seed=0)  # type: ignore[arg-type]
