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
    X = rng.normal(size=(6000, 4))  # noqa: N806
    y = (rng.random(6000) < 1 / (1 + np.exp(3 - 2 * X[:, 0]))).astype(int)
    scope = {"X": X[:4000], "y": y[:4000], "X_valid": X[4000:], "y_valid": y[4000:]}
    blocks = re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, scope)
        assert np.mean(scope["probability"]) == pytest.approx(y[4000:].mean(), abs=0.02)
