"""Where llvmlite is missing NumPy computes: the same loops and formulas, the same errors, one warning."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from boostfocal import FocalLoss, SoftmaxFocalLoss

TESTS = Path(__file__).parent
MATHEMATICS = ("test_focal.py", "test_softmax.py", "test_multilabel.py", "test_elementwise.py")
TIMEOUT = 280

WITHOUT = "import sys; sys.modules['llvmlite'] = None\n"


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


@pytest.mark.parametrize("name", MATHEMATICS)
def test_mathematics_hold_without_the_compiler(name: str) -> None:
    done = run("-m", "pytest", "--without-compiler", "-n", "0", "-q", "-x", "-k", "not 1500", str(TESTS / name))
    assert done.returncode == 0, done.stdout[-3000:]


def test_one_warning_tells_how_much_slower_it_is_and_why(tmp_path: Path) -> None:
    code = WITHOUT + (
        "import numpy as np\n"
        "from boostfocal import FocalLoss, SoftmaxFocalLoss\n"
        "for gamma in (0.0, 2.0, 1.3):\n"
        "    FocalLoss(gamma).gradient_hessian([0, 1], [0.0, 1.0])\n"
        "    SoftmaxFocalLoss(3, gamma).mean([0, 2], np.zeros((2, 3)))\n"
    )
    done = run("-c", code, BOOSTFOCAL_CACHE_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RuntimeWarning") == 1
    assert "25 times as slow" in done.stderr
    assert "llvmlite" in done.stderr
    assert not list(tmp_path.iterdir())


def test_results_are_those_of_the_compiled_kernels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels, margins, weights = rng.integers(0, 2, 5000), rng.normal(scale=4, size=5000), rng.integers(0, 9, 5000) / 8
    classes, scores = rng.integers(0, 4, 3000), rng.normal(scale=4, size=(3000, 4))
    arrays = tmp_path / "arrays.npz"
    np.savez(arrays, labels, margins, weights, classes, scores)
    code = WITHOUT + (
        "import numpy as np, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from boostfocal import FocalLoss, SoftmaxFocalLoss\n"
        f"y, z, w, classes, scores = np.load({str(arrays)!r}).values()\n"
        "out = []\n"
        "for gamma in (0.0, 2.0, (1.3, 0.4)):\n"
        "    for hessian in ('expected', 'exact'):\n"
        "        out += FocalLoss(gamma, 0.25, hessian).gradient_hessian(y, z, w)\n"
        "        gammas = gamma[0] if isinstance(gamma, tuple) else gamma\n"
        "        out += SoftmaxFocalLoss(4, gammas, None, hessian).gradient_hessian(classes, scores.astype('f4'))\n"
        f"np.savez({str(tmp_path / 'out.npz')!r}, *out)\n"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    found = list(np.load(tmp_path / "out.npz").values())
    expected: list[np.ndarray] = []
    for gamma in (0.0, 2.0, (1.3, 0.4)):
        for hessian in ("expected", "exact"):
            expected += FocalLoss(gamma, 0.25, hessian).gradient_hessian(labels, margins, weights)  # type: ignore[arg-type]
            one = gamma[0] if isinstance(gamma, tuple) else gamma
            loss = SoftmaxFocalLoss(4, one, None, hessian)  # type: ignore[arg-type]
            expected += loss.gradient_hessian(classes, scores.astype(np.float32))
    for of_numpy, compiled in zip(found, expected, strict=True):
        # exact Hessians change their sign: there their terms cancel, which are of the largest values' size
        assert_allclose(of_numpy, compiled, rtol=1e-5, atol=2e-6 * np.abs(compiled).max())


def test_errors_are_the_same() -> None:
    code = WITHOUT + (
        "import warnings; warnings.simplefilter('ignore')\n"
        "from boostfocal import FocalLoss, SoftmaxFocalLoss\n"
        "for call in (lambda: FocalLoss().gradient_hessian([0, 2], [0.0, 0.0]),\n"
        "             lambda: FocalLoss().gradient_hessian([0, 1], [0.0, float('nan')]),\n"
        "             lambda: FocalLoss().mean([0, 1], [0.0, 0.0], [1.0, -1.0]),\n"
        "             lambda: SoftmaxFocalLoss(2).gradient_hessian([0, 2], [[0.0, 1.0]] * 2)):\n"
        "    try:\n"
        "        call()\n"
        "    except ValueError as error:\n"
        "        print(error)\n"
    )
    done = run("-c", code)
    assert done.returncode == 0, done.stderr
    names = [line.split(" must be ")[0] for line in done.stdout.splitlines()]
    assert names == ["y", "margin", "sample_weight", "y"]
