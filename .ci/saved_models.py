"""Models of one version of the engines, scored by another: `write DIR` with the old, `check DIR` with the new."""

import sys
from pathlib import Path

import numpy as np
from lightgbm import __version__ as lightgbm
from xgboost import __version__ as xgboost

import boostfocal
from boostfocal import FocalLGBMClassifier, FocalXGBClassifier

MODELS = {
    "m.ubj": (FocalXGBClassifier, {}),
    "m.json": (FocalXGBClassifier, {"booster": "dart", "rate_drop": 0.2}),
    "linear.ubj": (FocalXGBClassifier, {"booster": "gblinear"}),
    "m.txt": (FocalLGBMClassifier, {"verbosity": -1}),
    "dart.txt": (FocalLGBMClassifier, {"verbosity": -1, "boosting_type": "dart"}),
    "linear.txt": (FocalLGBMClassifier, {"verbosity": -1, "linear_tree": True}),
}


def rows() -> np.ndarray:
    X = np.random.default_rng(0).normal(size=(1500, 4))
    X[::7, 1] = np.nan
    return X


def write(folder: Path) -> None:
    X = rows()
    score = X[:, 0] + np.random.default_rng(1).normal(size=len(X))
    for n_classes, names in ((2, ["no", "yes"]), (3, [1, 5, 9])):
        y = np.array(names)[np.digitize(score, [1.5] if n_classes == 2 else [0, 1.5])]
        for file, (kind, options) in MODELS.items():
            model = kind(n_estimators=12, focal_alpha="balanced", **options).fit(X, y).recalibrate(X[::2], y[::2])
            model.save_model(folder / f"{n_classes}{file}")
            np.savez(folder / f"{n_classes}{file}.npz", proba=model.predict_proba(X), label=model.predict(X))
    print(f"wrote {len(list(folder.glob('*.npz')))} models with XGBoost {xgboost}, LightGBM {lightgbm}")


def check(folder: Path) -> None:
    X, written = rows(), sorted(folder.glob("*.npz"))
    assert len(written) == 2 * len(MODELS)
    for expected in written:
        model, found = boostfocal.load(expected.with_suffix("")), np.load(expected)
        np.testing.assert_allclose(model.predict_proba(X), found["proba"], rtol=1e-5, atol=1e-6, err_msg=expected.name)
        np.testing.assert_array_equal(model.predict(X), found["label"])
    print(f"{len(written)} models score alike with XGBoost {xgboost}, LightGBM {lightgbm}")


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
