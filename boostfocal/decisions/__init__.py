"""From true probabilities to decisions: by what errors cost, or by what may be alerted."""

from .alerts import Threshold, constrained_threshold, daily_alerts
from .costs import cost_matrix, cost_threshold, decide, expected_savings, mean_cost, savings

__all__ = [
    "Threshold", "constrained_threshold", "cost_matrix", "cost_threshold", "daily_alerts", "decide",
    "expected_savings", "mean_cost", "savings",
]  # fmt: skip
