"""Categories of training's table: rows may have them as plain text, and a loaded model knows them."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_classifiers import needs_categories

import boostfocal
from boostfocal import FocalLGBMClassifier, FocalXGBClassifier

pytestmark = needs_categories

KINDS = {
    FocalXGBClassifier: {"n_estimators": 10, "n_jobs": 1, "enable_categorical": True},
    FocalLGBMClassifier: {"n_estimators": 10, "n_jobs": 1, "verbosity": -1, "cat_smooth": 1},
}
NAMES = ["ES", "NA", "ñ", "a b", "'\"\\={}"]


def rows(n: int = 800) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(0)
    country = random.integers(0, len(NAMES), n)
    X = pd.DataFrame(
        {
            "amount": random.normal(size=n),
            "country": pd.Categorical.from_codes(country, NAMES),
            "floor": pd.Categorical(random.integers(3, 6, n)),
        }
    )
    X.loc[::17, "country"] = None
    return X, ((X["amount"] + country + random.logistic(size=n)) > 3).to_numpy().astype(int)


def fitted(kind: Any) -> Any:
    return kind(**KINDS[kind]).fit(*rows())


def later(model: Any, stage: str, path: Path) -> Any:
    if stage == "loaded":
        model.save_model(path / "model")
        return boostfocal.load(path / "model")
    return model


@pytest.mark.parametrize("stage", ["fitted", "loaded"])
@pytest.mark.parametrize("dtype", [object, "string"])
@pytest.mark.parametrize("kind", KINDS)
def test_plain_text_is_taken_for_the_categories_of_training(kind: Any, dtype: Any, stage: str, tmp_path: Path) -> None:
    X, y = rows()
    model = later(fitted(kind), stage, tmp_path)
    expected = model.predict_proba(X)
    plain = X.assign(country=X["country"].astype(dtype))
    before = plain.copy(deep=True)
    np.testing.assert_array_equal(model.predict_proba(plain), expected)
    pd.testing.assert_frame_equal(plain, before)
    for one in (*range(len(NAMES)), 17):  # the last is missing
        np.testing.assert_allclose(model.predict_proba(plain.iloc[[one]]), expected[[one]], rtol=1e-6)
    one_row = pd.DataFrame([{"amount": 0.5, "country": "NA", "floor": 4}]).astype({"floor": X["floor"].dtype})
    assert model.predict_proba(one_row).shape == (1, 2)
    model.recalibrate(plain, y, slope=False).refit_leaves(plain, y)
    np.testing.assert_array_equal(model.predict_proba(plain), model.predict_proba(X))


@pytest.mark.parametrize("stage", ["fitted", "loaded"])
@pytest.mark.parametrize("kind", KINDS)
def test_unseen_categories_are_missing_on_both_by_one_line(kind: Any, stage: str, tmp_path: Path) -> None:
    X, _ = rows()
    model = later(fitted(kind), stage, tmp_path)
    assert model.categories_ == {"country": NAMES, "floor": [3, 4, 5]}
    new, missing = X.head(20).copy(), X.head(20).copy()
    new["country"] = pd.Categorical(["elsewhere"] * 20, categories=model.categories_["country"])
    missing["country"] = pd.Categorical([None] * 20, categories=NAMES)
    np.testing.assert_array_equal(model.predict_proba(new), model.predict_proba(missing))


@pytest.mark.parametrize("kind", KINDS)
def test_unseen_categories_raise_on_xgboost_and_are_missing_to_lightgbm(kind: Any) -> None:
    """As the pages say; of plain text, too."""
    X, _ = rows()
    model = fitted(kind)
    for values in (["elsewhere"] * 20, pd.Categorical(["elsewhere"] * 20)):
        new = X.head(20).assign(country=values)
        if kind is FocalXGBClassifier:
            with pytest.raises(ValueError, match="category not in the training set"):
                model.predict_proba(new)
        else:
            missing = X.head(20).assign(country=pd.Categorical([None] * 20, categories=NAMES))
            np.testing.assert_array_equal(model.predict_proba(new), model.predict_proba(missing))


@pytest.mark.parametrize("kind", KINDS)
def test_models_of_arrays_know_none(kind: Any) -> None:
    X, y = rows()
    assert kind(**KINDS[kind]).fit(X[["amount"]].to_numpy(), y).categories_ == {}


def test_text_where_training_had_none_is_the_engines_error() -> None:
    X, y = rows()
    model = FocalLGBMClassifier(verbosity=-1).fit(X[["amount"]], y)
    with pytest.raises(ValueError, match="int, float or bool"):
        model.predict_proba(X[["amount"]].astype(str))
