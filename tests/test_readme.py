"""The README's Python blocks run, one after the other in one scope, on made data."""

import re
from pathlib import Path

import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_python_blocks_run_and_give_probabilities_of_the_true_rate() -> None:
    pytest.importorskip("xgboost")
    pytest.importorskip("lightgbm")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(6000, 4))
    y = (rng.random(6000) < 1 / (1 + np.exp(3 - 2 * X[:, 0]))).astype(int)
    scope = {"X": X[:4000], "y": y[:4000], "X_valid": X[4000:], "y_valid": y[4000:]}
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert len(blocks) == 5
    y_class = np.digitize(X[:, 1] + rng.normal(size=6000), [0, 1.5])
    Y = (X[:, :2] + rng.normal(size=(6000, 2)) > 1).astype(float)
    scope |= {"y_class": y_class[:4000], "Y": Y[:4000]}
    truths = [y, y, y, y_class[:, np.newaxis] == range(3), Y]
    for block, truth in zip(blocks, truths, strict=True):
        exec(block, scope)
        assert np.shape(scope["probability"]) == truth[4000:].shape
        np.testing.assert_allclose(np.mean(scope["probability"], axis=0), truth[4000:].mean(axis=0), atol=0.03)
