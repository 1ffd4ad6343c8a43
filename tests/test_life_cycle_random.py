"""Random lives of a model: after each step its probabilities are those of an independent replay."""

import pickle
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from hypothesis.strategies import booleans, floats, integers, sampled_from
from sklearn.base import clone

import boostfocal
from boostfocal import FocalLGBMClassifier, FocalXGBClassifier

XGB, LGBM = FocalXGBClassifier, FocalLGBMClassifier


def data(n_classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    X = random.normal(size=(400, 3))
    score = 1.5 * X[:, 0] + random.logistic(size=400)
    y = np.digitize(score, [1.5] if n_classes == 2 else [0.0, 1.5])
    return X, np.array(["a", "b", "c"])[y]


class Life(RuleBasedStateMachine):
    """One classifier and what can happen to it. Subclasses say which."""

    kind: Any
    n_classes: int

    def options(self, **more: Any) -> dict[str, Any]:
        quiet = {"verbosity": -1, "min_child_samples": 5} if self.kind is LGBM else {}
        return {"n_jobs": 1, "n_estimators": 4, **quiet, **more}

    @initialize(alpha=sampled_from([0.5, "balanced", None]), gamma=sampled_from([0.0, 0.5, 2.0]), sampled=booleans())
    def fit(self, alpha: Any, gamma: float, sampled: bool) -> None:
        rates = {"a": 0.2} if sampled else None
        self.parameters = {"focal_alpha": alpha, "focal_gamma": gamma, "sampling_rates": rates}
        self.model = self.kind(**self.options(**self.parameters)).fit(*data(self.n_classes, 0))

    @rule(seed=integers(1, 5), rate=sampled_from([0.1, 0.5]))
    def continues(self, seed: int, rate: float) -> None:
        name = "xgb_model" if self.kind is XGB else "init_model"
        model = self.kind(**self.options(**self.parameters, learning_rate=rate))
        self.model = model.fit(*data(self.n_classes, seed), **{name: self.model})

    @rule(seed=integers(1, 5))
    def continues_until_it_gets_worse(self, seed: int) -> None:
        stop = "early_stopping_rounds" if self.kind is XGB else "early_stopping_round"
        name = "xgb_model" if self.kind is XGB else "init_model"
        model = self.kind(**self.options(**self.parameters, learning_rate=0.5, **{stop: 2}) | {"n_estimators": 30})
        valid = data(self.n_classes, seed + 10)
        options = {"verbose": False} if self.kind is XGB else {}
        self.model = model.fit(*data(self.n_classes, seed), eval_set=[valid], **{name: self.model}, **options)

    @rule()
    def is_saved_and_loaded(self) -> None:
        before = self.model.predict_proba(self.X)
        with tempfile.TemporaryDirectory() as folder:
            self.model.save_model(Path(folder) / "model")
            self.model = boostfocal.load(Path(folder) / "model")
        np.testing.assert_array_equal(self.model.predict_proba(self.X), before)

    @rule()
    def is_pickled(self) -> None:
        before = self.model.predict_proba(self.X)
        self.model = pickle.loads(pickle.dumps(self.model))
        np.testing.assert_array_equal(self.model.predict_proba(self.X), before)

    @rule(seed=integers(1, 5))
    def is_cloned_and_fitted(self, seed: int) -> None:
        fresh = clone(self.model)
        assert not hasattr(fresh, "state_")
        stop = "early_stopping_rounds" if self.kind is XGB else "early_stopping_round"
        self.model = fresh.set_params(n_estimators=4, **{stop: None}).fit(*data(self.n_classes, seed))

    @rule(seed=integers(1, 5), slope=booleans())
    def is_recalibrated(self, seed: int, slope: bool) -> None:
        X, y = data(self.n_classes, seed + 20)  # which no training has seen: of those the best slope may be infinite
        margins = self.model.decision_function(X)
        self.model.recalibrate(X, y, slope=slope)
        np.testing.assert_array_equal(self.model.decision_function(X), margins)
        mean = self.model.predict_proba(X).mean(axis=0)
        np.testing.assert_allclose(mean, np.unique(y, return_counts=True)[1] / len(y), atol=1e-4)

    @rule(seed=integers(1, 5), decay=floats(0, 1))
    def is_refitted(self, seed: int, decay: float) -> None:
        self.model.refit_leaves(*data(self.n_classes, seed), decay=decay)

    @precondition(lambda self: self.kind is XGB)
    @rule()
    def becomes_the_model_of_its_booster(self) -> None:
        before = self.model.decision_function(self.X)
        self.model = XGB.from_booster(self.model.get_booster(), self.model.loss_, self.model.classes_)
        self.model.set_params(**self.options(), **self.parameters)
        np.testing.assert_array_equal(self.model.decision_function(self.X), before)

    @precondition(lambda self: self.kind is XGB)
    @rule(seed=integers(1, 5))
    def becomes_a_checkpoint_of_its_continuation(self, seed: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            saved = xgb.callback.TrainingCheckPoint(folder, interval=2)
            model = XGB(**self.options(**self.parameters, callbacks=[saved]))
            model.fit(*data(self.n_classes, seed), xgb_model=self.model)
            path = max(Path(folder).iterdir(), key=lambda found: found.stat().st_mtime_ns)
            self.model = boostfocal.load(path).set_params(n_estimators=4)

    @rule()
    def is_exported(self) -> None:
        runtime = pytest.importorskip("onnxruntime")
        session = runtime.InferenceSession(self.model.to_onnx().SerializeToString())
        dtype = np.float32 if self.kind is XGB else np.float64
        proba = session.run(["probabilities"], {"X": self.X.astype(dtype)})[0]
        np.testing.assert_allclose(proba, self.model.predict_proba(self.X.astype(dtype)), atol=2e-5)

    @property
    def X(self) -> np.ndarray:  # noqa: N802
        return data(self.n_classes, 99)[0]

    @invariant()
    def probabilities_are_those_of_a_replay(self) -> None:
        if not hasattr(self, "model"):
            return
        model, X = self.model, self.X
        if self.kind is XGB:
            booster = model.get_booster()
            best = booster.attr("best_iteration")
            rounds = booster.num_boosted_rounds() if best is None else int(best) + 1
            margin = booster.predict(xgb.DMatrix(X), output_margin=True, iteration_range=(0, rounds))
        else:
            margin = model.booster_.predict(X, raw_score=True)
        eta = model.loss_.predict_proba(margin.astype(np.float64))
        eta = eta if eta.ndim > 1 else np.stack([1 - eta, eta], axis=1)
        scores = model.posterior_.slope * np.log(eta) + np.array(model.posterior_.bias)
        proba = np.exp(scores - scores.max(axis=1, keepdims=True))
        np.testing.assert_allclose(model.predict_proba(X), proba / proba.sum(axis=1, keepdims=True), atol=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("kind", [XGB, LGBM])
def test_probabilities_are_a_replays_whatever_has_happened(kind: type, n_classes: int) -> None:
    life = type("Life", (Life,), {"kind": kind, "n_classes": n_classes})
    case = life.TestCase
    case.settings = settings(
        max_examples=12, stateful_step_count=8, deadline=None, derandomize=True, database=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    case().runTest()
