"""The costs of a comparison's decisions, as the options give them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boostfocal.decisions import cost_matrix, mean_cost

from .reading import DataError
from .splits import Split
from .table import Table


@dataclass(frozen=True)
class Costs:
    """The costs of a false alert, of a right alert, and of a miss, which may cost each row's amount."""

    false_positive: float
    true_positive: float
    false_negative: float | None = None
    amount: str | None = None

    def matrices(self, amounts: NDArray[np.float64] | None) -> NDArray[np.float64]:
        """The cost matrix, or one for each row."""
        missed = self.false_negative if amounts is None else amounts
        return cost_matrix(self.false_positive, missed, true_positive=self.true_positive)

    def check(self, table: Table, splits: list[Split]) -> None:
        """Refuse costs that do not fit the table, before hours are spent.

        Raises
        ------
        DataError
            For a target without a positive value, and if a test part has nothing to save.
        """
        if not table.binary:
            raise DataError(
                f"--cost-fp must be left out unless one value is positive (--positive), got {self.false_positive:g}"
            )
        for number, part in enumerate(splits, start=1):
            labels = table.labels[part.test]
            matrices = self.matrices(None if table.amount is None else table.amount[part.test])
            for always, decision in (("alert no row", np.zeros_like(labels)), ("alert all rows", np.ones_like(labels))):
                if mean_cost(labels, decision, matrices) <= 0:
                    raise DataError(
                        f"--cost-fp, --cost-fn and --amount must make it cost something to {always}, "
                        f"got 0 in the test part of split {number}"
                    )


def of_options(
    false_positive: float | None, false_negative: float | None, true_positive: float, amount: str | None
) -> Costs | None:
    """The costs, if they were given.

    Raises
    ------
    DataError
        For costs below 0 or not finite, and if one of several that belong together is missing.
    """
    named = {"--cost-fp": false_positive, "--cost-fn": false_negative, "--cost-tp": true_positive}
    for name, value in named.items():
        if value is not None and not 0 <= value < np.inf:
            raise DataError(f"{name} must be a finite number, not negative, got {value:g}")
    if false_positive is None:
        given = [name for name, value in (("--cost-fn", false_negative), ("--amount", amount)) if value is not None]
        if given or true_positive:
            raise DataError(f"--cost-fp must be given with {(given or ['--cost-tp'])[0]}: what a false alert costs")
        return None
    if (false_negative is None) == (amount is None):
        got = "neither" if amount is None else "both"
        raise DataError(f"--cost-fp needs --cost-fn or --amount, what a miss costs, got {got}")
    return Costs(false_positive, true_positive, false_negative, amount)
