"""Does boosting learn from any starting margin? On simulated card transactions, at the engines' defaults.

The data is that of the Reproducible Machine Learning for Credit Card Fraud Detection handbook
(Le Borgne, Siblini, Lebichot, Bontempi), one row a transaction, as Parquet; the split is its baseline:
a week of training, a week's delay of the labels, a week of test.
"""

import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

import lightgbm as lgb
import numpy as np
import pandas as pd
import xgboost as xgb
from _measure import Report, parser
from numpy.typing import NDArray
from scipy.special import logit
from sklearn.metrics import average_precision_score, roc_auc_score

from boostfocal import CardPrecision, FocalLoss

TRAIN, TEST = range(115, 122), range(129, 136)  # days
FEEDBACK = 8  # a fraud is known this many days later
FIRST_FEATURE = "TX_AMOUNT"
RARE = 0.001
LOWEST = 0.55  # average precision
PUBLISHED = ("published: XGBoost 1 at its defaults", 0.862, 0.639, 0.273)
AS_PUBLISHED = {"tree_method": "exact", "base_score": 0.5}  # the defaults of XGBoost 1 for this many rows
ROUNDS = 100

Margins = NDArray[np.float64]
Hessian = Literal["expected", "exact"]


class Split(NamedTuple):
    x: pd.DataFrame
    y: NDArray[np.float64]
    test: pd.DataFrame
    y_test: NDArray[np.float64]


def read(path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of training and of test; a test day is without the customers known to be defrauded by then."""
    days = [("TX_TIME_DAYS", ">=", TRAIN[0]), ("TX_TIME_DAYS", "<=", TEST[-1])]
    table = pd.read_parquet(path, filters=days)
    day, fraud = table["TX_TIME_DAYS"], table["TX_FRAUD"] == 1
    train = day.isin(TRAIN)
    known = set(table["CUSTOMER_ID"][train & fraud])
    kept = []
    for today in TEST:
        known |= set(table["CUSTOMER_ID"][(day == today - FEEDBACK) & fraud])
        kept.append(table[(day == today) & ~table["CUSTOMER_ID"].isin(known)])
    return table[train], pd.concat(kept)


def split(train: pd.DataFrame, test: pd.DataFrame) -> Split:
    features = list(train.columns[train.columns.get_loc(FIRST_FEATURE) :])
    return Split(
        train[features], train["TX_FRAUD"].to_numpy(float), test[features], test["TX_FRAUD"].to_numpy(float)
    )  # fmt: skip


def xgboost(rows: Split, loss: FocalLoss | None, start: float | None = None, **parameters: Any) -> Margins:
    """Margins of the test rows, by a hundred rounds; without a loss by the built-in one."""
    parameters |= {"objective": "binary:logistic"} if loss is None else {"base_score": start}
    booster = xgb.train(parameters, xgb.DMatrix(rows.x, rows.y), ROUNDS, obj=loss)
    return np.asarray(booster.predict(xgb.DMatrix(rows.test), output_margin=True), np.float64)


def lightgbm(rows: Split, loss: FocalLoss | None, start: float | None = None, **parameters: Any) -> Margins:
    """The same; the starting margin, a constant, is left out of the margins: they serve for ranking."""
    parameters |= {"objective": loss or "binary", "verbose": -1}
    init_score = None if start is None else np.full(rows.y.size, start)
    data = lgb.Dataset(rows.x, rows.y, init_score=init_score)
    return np.asarray(lgb.train(parameters, data, ROUNDS).predict(rows.test, raw_score=True), np.float64)


ENGINES = {"XGBoost": xgboost, "LightGBM": lightgbm}


def starts(loss: FocalLoss, y: NDArray[np.float64]) -> dict[str, float]:
    return {"0": 0.0, "0.5": 0.5, "logit(prior)": float(logit(y.mean())), "optimal_margin": loss.optimal_margin(y)}


def average_precisions(
    report: Report, title: str, engine: str, rows: Split, gammas: list[float], hessians: list[Hessian]
) -> float:
    """Print a table of every start, gamma and Hessian. Returns the lowest with the expected Hessian."""
    table, expected = [], []
    for hessian in hessians:
        for gamma in gammas:
            loss = FocalLoss(gamma, hessian=hessian)
            row = [
                float(average_precision_score(rows.y_test, ENGINES[engine](rows, loss, start)))
                for start in starts(loss, rows.y).values()
            ]
            table.append((f"{hessian}, gamma {gamma:g}", *row))
            expected += row if hessian == "expected" else []
    report.table(title, ("Hessian", *starts(FocalLoss(), rows.y)), table)
    return min(expected)


def main() -> int:
    options_parser = parser(__doc__)
    options_parser.add_argument("--transactions", type=Path, metavar="FILE", help="the handbook's transactions")
    options = options_parser.parse_args()
    report = Report("start", options)
    if options.transactions is None:
        report.note("skipped: everything, for --transactions FILE was not given")
        return report.finish()

    train, test = read(options.transactions)
    rows = split(train, test)
    report.note(f"{rows.y.size:,} rows of training, {rows.y.mean():.2%} fraud; {rows.y_test.size:,} of test")
    gammas = [2.0] if options.quick else [0.0, 1.0, 2.0, 3.0]
    hessians: list[Hessian] = ["expected"] if options.quick else ["expected", "exact"]
    for engine in ENGINES:
        title = f"{engine}: average precision by starting margin"
        lowest = average_precisions(report, title, engine, rows, gammas, hessians)
        report.target(f"{engine}, expected Hessian: lowest average precision", lowest, low=LOWEST, timing=False)

    fraud = np.flatnonzero(rows.y)
    n_kept = round((rows.y.size - fraud.size) * RARE / (1 - RARE))
    dropped = np.random.default_rng(0).permutation(fraud)[n_kept:]
    rare = rows._replace(x=rows.x.drop(rows.x.index[dropped]), y=np.delete(rows.y, dropped))
    for engine, fit in ENGINES.items():
        built_in = float(average_precision_score(rare.y_test, fit(rare, None, max_delta_step=1.0)))
        title = f"{engine}, {rare.y.mean():.2%} fraud; the built-in loss with max_delta_step 1 has {built_in:.3f}"
        lowest = average_precisions(report, title, engine, rare, gammas, hessians)
        name = f"{engine}, {rare.y.mean():.2%} fraud: lowest average precision"
        report.target(name, lowest, low=round(built_in / 2, 4), timing=False)

    cards = CardPrecision(100, card=test["CUSTOMER_ID"].to_numpy(), day=test["TX_TIME_DAYS"].to_numpy())
    models: dict[str, Margins] = {}
    if not options.quick:
        models["XGBoost, built-in, the same parameters"] = xgboost(rows, None, **AS_PUBLISHED)
    for engine, fit in ENGINES.items():
        models[f"{engine}, built-in, today's defaults"] = fit(rows, None)
        for gamma in gammas:
            loss = FocalLoss(gamma)
            models[f"{engine}, gamma {gamma:g}, optimal_margin"] = fit(rows, loss, loss.optimal_margin(rows.y))
    table = [PUBLISHED]
    for name, margin in models.items():
        area = float(roc_auc_score(rows.y_test, margin))
        precision = float(average_precision_score(rows.y_test, margin))
        table.append((name, area, precision, cards.score(rows.y_test, margin)))
    report.table("Test week", ("model", "AUC ROC", "average precision", "card precision@100"), table)
    if not options.quick:
        furthest = max(abs(here - there) for here, there in zip(table[1][1:], PUBLISHED[1:], strict=True))
        report.target("largest difference to the published figures", furthest, high=0.002, timing=False)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
