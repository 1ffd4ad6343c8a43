"""What explainers and serializers make of a classifier."""

from typing import Any

import numpy as np
import pytest

import boostfocal
from boostfocal import FocalLGBMClassifier, FocalXGBClassifier

pytestmark = pytest.mark.filterwarnings("ignore")

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(600, 4))
SCORE = 2 * X[:, 0] + RANDOM.logistic(size=600)
KINDS: dict[Any, dict[str, Any]] = {
    FocalXGBClassifier: {"n_jobs": 1},
    FocalLGBMClassifier: {"n_jobs": 1, "verbosity": -1},
}
BOTH = pytest.mark.parametrize("kind", KINDS)


def shap_for(kind: Any) -> Any:
    shap = pytest.importorskip("shap")
    if kind is FocalXGBClassifier and tuple(map(int, shap.__version__.split(".")[:2])) < (0, 50):
        pytest.skip("SHAP reads XGBoost 3.1 and newer from 0.50 on")
    return shap


def fitted(kind: Any, n_classes: int = 2) -> Any:
    y = np.digitize(SCORE, [3] if n_classes == 2 else [-1, 2])
    return kind(n_estimators=10, focal_alpha=0.1 if n_classes == 2 else [1, 2, 3], **KINDS[kind]).fit(X, y)


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
def test_shap_explains_margins_by_trees_and_probabilities_without(kind: Any, n_classes: int) -> None:
    shap = shap_for(kind)
    model = fitted(kind, n_classes)
    of_margin = shap.TreeExplainer(model)(X[:20])
    found = of_margin.base_values + of_margin.values.sum(axis=1)
    np.testing.assert_allclose(found, model.decision_function(X[:20]), atol=1e-5)
    of_probability = shap.Explainer(model.predict_proba, X[:50])(X[:5])
    found = of_probability.base_values + of_probability.values.sum(axis=1)
    np.testing.assert_allclose(found, model.predict_proba(X[:5]), atol=1e-6)


@BOTH
def test_shap_does_not_take_the_sigmoid_for_the_posterior(kind: Any) -> None:
    shap = shap_for(kind)
    with pytest.raises(Exception, match=r"not yet supported|not have a known objective or output type"):
        shap.TreeExplainer(fitted(kind), X[:50], model_output="probability")


def test_name_of_the_objective_is_no_parameter() -> None:
    model = FocalLGBMClassifier()
    assert model.objective == "focal_loss"
    assert model.get_params()["objective"] is None
    assert "focal_loss" not in repr(model)
    with pytest.raises(ValueError, match=r"objective must be left out.*got 'huber'"):
        model.set_params(objective="huber").fit(X, SCORE > 3)


@BOTH
@pytest.mark.parametrize("n_classes", [2, 3])
def test_skops_needs_the_types_that_we_name(kind: Any, n_classes: int) -> None:
    skops = pytest.importorskip("skops.io")
    model = fitted(kind, n_classes)
    content = skops.dumps(model)
    assert set(skops.get_untrusted_types(data=content)) <= set(boostfocal.TRUSTED_TYPES)
    loaded = skops.loads(content, trusted=list(boostfocal.TRUSTED_TYPES))
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(loaded.recalibrate(X, model.predict(X), slope=False).classes_, model.classes_)
