"""From raw card transactions to alerts: features, training, probabilities, decisions, a served model.

    pip install '.[lightgbm,onnx]' pandas onnxruntime
    python docs/transactions.py

The table is made up here, so that the script runs anywhere: put your own in `transactions`.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas as pd
from sklearn.metrics import average_precision_score, log_loss

import boostfocal
from boostfocal import CardPrecision, FocalLGBMClassifier, cost_matrix, daily_alerts, decide

COUNTRIES = ["BE", "DE", "FR", "NL", "US", "BR"]
KINDS = ["food", "fuel", "travel", "online", "cash"]
KEPT = 0.1  # of the genuine transactions, for training
INVESTIGATION = 8.0  # cost of an alert, in the currency of the amounts


def transactions(n: int, seed: int = 0) -> pd.DataFrame:
    """Two months of raw rows in the order of time, 0.3 % of them fraud."""
    rng = np.random.default_rng(seed)
    card = rng.integers(0, n // 60, n)
    habit = rng.lognormal(3, 0.6, n // 60)
    night = rng.random(n) < 0.15
    hour = np.where(night, rng.uniform(0, 6, n), rng.uniform(6, 24, n))
    day = np.sort(rng.integers(0, 60, n))
    abroad = rng.random(n) < 0.12
    kind = rng.choice(5, n, p=[0.45, 0.15, 0.1, 0.25, 0.05])
    amount = habit[card] * rng.lognormal(0, 0.7, n)
    log_odds = -8.5 + 2.2 * abroad + 1.6 * night + 1.2 * (kind == 3) + 2.2 * np.log(amount / habit[card])
    return pd.DataFrame({
        "time": pd.Timestamp("2026-01-01") + pd.to_timedelta(day * 24 + hour, unit="h"),
        "card": card,
        "country": np.where(abroad, rng.choice(COUNTRIES[3:], n), rng.choice(COUNTRIES[:3], n)),
        "kind": np.array(KINDS)[kind],
        "amount": np.round(amount, 2),
        "fraud": rng.random(n) < 1 / (1 + np.exp(-log_odds)),
    }).sort_values("time", ignore_index=True)  # fmt: skip


def features(raw: pd.DataFrame) -> pd.DataFrame:
    """What is known of a transaction when it comes in: of the card's past only what is before it."""
    by_card = raw.groupby("card")
    before = by_card["amount"].cumsum() - raw["amount"]
    count = by_card.cumcount()
    return pd.DataFrame({
        "amount": raw["amount"],
        "hour": raw["time"].dt.hour,
        "weekday": raw["time"].dt.day_of_week,
        "past_transactions": count,
        "times_the_usual": raw["amount"] / (before / count.where(count > 0)),  # missing for a new card
        "hours_since_the_last": by_card["time"].diff().dt.total_seconds() / 3600,
        "country": pd.Categorical(raw["country"], categories=COUNTRIES),
        "kind": pd.Categorical(raw["kind"], categories=KINDS),
    })  # fmt: skip


def main(n: int = 300_000) -> dict[str, float]:
    raw = transactions(n)
    X, fraud, day = features(raw), raw["fraud"].to_numpy(), raw["time"].dt.day_of_year.to_numpy() - 1

    # labels come a week late: what is scored from day 45 on is trained on days 0 to 37
    valid, test = (day >= 31) & (day < 38), day >= 45
    kept = (day < 31) & (fraud | (np.random.default_rng(1).random(n) < KEPT))

    model = FocalLGBMClassifier(
        n_estimators=500, learning_rate=0.05, num_leaves=15, early_stopping_round=30, random_state=0, verbosity=-1,
        sampling_rates={False: KEPT},
    )  # fmt: skip
    model.fit(X[kept], fraud[kept], eval_set=[(X[valid], fraud[valid])], eval_metric="average_precision")
    model.recalibrate(X[valid], fraud[valid], slope=False)  # the newest labels set the level

    probability = model.predict_proba(X[test])[:, 1]
    amount, cards, days = raw.loc[test, "amount"].to_numpy(), raw.loc[test, "card"].to_numpy(), day[test]
    per_card = CardPrecision(20, card=cards, day=days)
    figures = {
        "share of fraud": fraud[test].mean(),
        "mean probability": probability.mean(),
        "log loss": log_loss(fraud[test], probability),
        "log loss of the share alone": log_loss(fraud[test], np.full(probability.size, fraud[valid].mean())),
        "average precision": average_precision_score(fraud[test], probability),
        "card precision at 20": per_card.score(fraud[test], probability),
    }

    # an alert costs an investigation, a missed fraud its amount
    alert = decide(probability, cost_matrix(INVESTIGATION, amount, true_positive=INVESTIGATION)) == 1
    cost = INVESTIGATION * alert.sum() + amount[fraud[test] & ~alert].sum()
    figures["cost, with alerts where they pay, of that without"] = cost / amount[fraud[test]].sum()
    busy = daily_alerts(probability * amount, days, 20, card=cards)
    figures["share of the stolen amount found by 20 cards a day"] = (
        amount[fraud[test] & busy].sum() / amount[fraud[test]].sum()
    )

    # one file is the whole model; a server needs LightGBM and this package, or ONNX Runtime alone
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fraud.txt"
        model.save_model(file)
        served = boostfocal.load(file)
        onnx.save(model.to_onnx(), Path(folder) / "fraud.onnx")
        session = onnxruntime.InferenceSession(Path(folder) / "fraud.onnx")
    incoming = X[test]
    figures["largest difference of the reloaded model"] = np.abs(
        served.predict_proba(incoming)[:, 1] - probability
    ).max()
    codes = incoming.assign(**{name: incoming[name].cat.codes for name in ("country", "kind")})
    answer = session.run(["probabilities"], {"X": codes.to_numpy(np.float64)})[0]
    figures["largest difference of the ONNX model"] = np.abs(answer[:, 1] - probability).max()
    return {name: float(value) for name, value in figures.items()}


if __name__ == "__main__":
    for name, value in main(*map(int, sys.argv[1:])).items():
        print(f"{name:<52}{value:.4g}")
