"""Intervals: of a share, of a number of rows, and of a mean over splits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95


def effective_rows(sample_weight: NDArray[np.float64]) -> float:
    """Rows of equal weight that say as much as these (Kish 1965)."""
    return float(sample_weight.sum() ** 2 / (sample_weight**2).sum())


def of_share(share: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's interval of a share of n rows (Wilson 1927)."""
    from scipy.special import ndtri

    z = float(ndtri((1 + confidence) / 2))
    middle, half = share + z**2 / (2 * n), z * np.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    low, high = (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)
    return max(0.0, float(low)), min(1.0, float(high))


def half_of_groups(
    values: NDArray[np.float64],
    sample_weight: NDArray[np.float64],
    groups: NDArray[np.intp],
    confidence: float = CONFIDENCE,
) -> float:
    """Half of the interval of a weighted mean over rows that belong together in groups (Cochran 1977, ch. 9)."""
    from scipy.special import stdtrit

    rest = sample_weight * (values - np.average(values, weights=sample_weight))
    totals = np.bincount(groups, rest)
    n = totals.size
    error = np.sqrt(n / (n - 1) * np.sum(totals**2)) / sample_weight.sum()
    return float(error * stdtrit(n - 1, (1 + confidence) / 2))


def of_count(count: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Garwood's interval of a count that n rows make up (Garwood 1936)."""
    from scipy.special import chdtri

    tail = (1 - confidence) / 2
    low, high = chdtri(2 * n, 1 - tail) / 2, chdtri(2 * n + 2, tail) / 2
    return float(count * low / n), float(count * high / n)


def of_mean(values: NDArray[np.float64], test_share: float) -> tuple[float, float | None]:
    """Mean over splits and half its 95 % interval, None for one split.

    The variance is corrected for training sets that overlap (Nadeau and Bengio 2003, *Inference for the Generalization
    Error*). `test_share` is test rows over training rows; 0 for values that are independent.
    """
    from scipy.special import stdtrit

    mean, n = float(values.mean()), values.size
    if n < 2:
        return mean, None
    error = float(np.sqrt((1 / n + test_share) * values.var(ddof=1)))
    return mean, error * float(stdtrit(n - 1, (1 + CONFIDENCE) / 2))
