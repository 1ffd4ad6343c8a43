"""From transactions to alerts

The whole way of a fraud model: features that know no future, a split in time, training on a
sample, true probabilities, alerts by cost and by number, and one file that serves.
"""

# %%
# ## The transactions
#
# Two months of raw rows in the order of time, 0.3 % of them fraud. The table is made up
# here, so that the script runs anywhere: put your own in its place.

import tempfile
from pathlib import Path

import boostfocal
import matplotlib.pyplot as plt
import numpy as np
import onnx
import onnxruntime
import pandas as pd
from boostfocal import (
    CardPrecision,
    FocalLGBMClassifier,
    cost_matrix,
    daily_alerts,
    decide,
    savings,
)
from boostfocal.plots import precision_recall, reliability
from sklearn.metrics import average_precision_score, log_loss

N = 300_000
COUNTRIES = ["BE", "DE", "FR", "NL", "US", "BR"]
KINDS = ["food", "fuel", "travel", "online", "cash"]

rng = np.random.default_rng(0)
card = rng.integers(0, N // 60, N)
habit = rng.lognormal(3, 0.6, N // 60)
night = rng.random(N) < 0.15
hour = np.where(night, rng.uniform(0, 6, N), rng.uniform(6, 24, N))
date = np.sort(rng.integers(0, 60, N))
abroad = rng.random(N) < 0.12
kind = rng.choice(5, N, p=[0.45, 0.15, 0.1, 0.25, 0.05])
times = rng.lognormal(0, 0.7, N)
log_odds = -8.5 + 2.2 * abroad + 1.6 * night + 1.2 * (kind == 3) + 2.2 * np.log(times)
country = np.where(abroad, rng.choice(COUNTRIES[3:], N), rng.choice(COUNTRIES[:3], N))
raw = pd.DataFrame(
    {
        "time": pd.Timestamp("2026-01-01") + pd.to_timedelta(date * 24 + hour, unit="h"),
        "card": card,
        "country": country,
        "kind": np.array(KINDS)[kind],
        "amount": np.round(habit[card] * times, 2),
        "fraud": rng.random(N) < 1 / (1 + np.exp(-log_odds)),
    }
).sort_values("time", ignore_index=True)
print(raw.head(4).to_string(index=False))

# %%
# ## Features
#
# They hold what is known when a transaction comes in. Of the card's past, only what is
# before it counts. A new card has no habit: the value is missing, and the trees take that.

by_card = raw.groupby("card")
count = by_card.cumcount()
before = by_card["amount"].cumsum() - raw["amount"]
X = pd.DataFrame(
    {
        "amount": raw["amount"],
        "hour": raw["time"].dt.hour,
        "weekday": raw["time"].dt.day_of_week,
        "past_transactions": count,
        "times_the_usual": raw["amount"] / (before / count.where(count > 0)),
        "hours_since_the_last": by_card["time"].diff().dt.total_seconds() / 3600,
        "country": pd.Categorical(raw["country"], categories=COUNTRIES),
        "kind": pd.Categorical(raw["kind"], categories=KINDS),
    }
)

# %%
# ## A split in time
#
# Labels come a week late: when day 45 is scored, the labels of days 0 to 37 are known. The
# last week of them stops the training. Only a tenth of the genuine transactions train.

KEPT = 0.1
fraud, day = raw["fraud"].to_numpy(), raw["time"].dt.day_of_year.to_numpy() - 1
valid, test = (day >= 31) & (day < 38), day >= 45
train = (day < 31) & (fraud | (np.random.default_rng(1).random(N) < KEPT))
for name, rows in [("train", train), ("valid", valid), ("test", test)]:
    print(f"{name:<7}{rows.sum():>8,} rows, {fraud[rows].mean():6.2%} fraud")

# %%
# ## Training
#
# `sampling_rates` makes the probabilities those of all transactions. The newest labels then
# set their level.

model = FocalLGBMClassifier(
    n_estimators=500,
    learning_rate=0.05,
    num_leaves=15,
    early_stopping_round=30,
    sampling_rates={False: KEPT},
    random_state=0,
    n_jobs=1,
    verbosity=-1,
)
watched = [(X[valid], fraud[valid])]
model.fit(X[train], fraud[train], eval_set=watched, eval_metric="average_precision")
model.recalibrate(X[valid], fraud[valid], slope=False)
print(f"{model.best_iteration_} rounds")

# %%
# ## Probabilities
#
# Log loss is lower than that of the share alone, and the mean probability is near it.

truth, p = fraud[test], model.predict_proba(X[test])[:, 1]
alone = np.full(p.size, fraud[valid].mean())
print(f"share of fraud {truth.mean():.5f}, mean probability {p.mean():.5f}")
print(f"log loss {log_loss(truth, p):.5f}, of the share alone {log_loss(truth, alone):.5f}")
print(f"average precision {average_precision_score(truth, p):.4f}")

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
precision_recall(truth, {"model": p}, ax=axes[0])
reliability(truth, {"model": p}, ax=axes[1])
axes[0].set_title("Precision and recall", loc="left", fontsize=10)
axes[1].set_title("Reliability", loc="left", fontsize=10)
plt.show()

# %%
# ## Alerts by cost
#
# An alert costs an investigation of 8, a missed fraud costs its amount. So the threshold is
# `8 / amount`, and a row below 8 is never alerted.

amount, cards = raw.loc[test, "amount"].to_numpy(), raw.loc[test, "card"]
days = day[test]
costs = cost_matrix(8.0, amount, true_positive=8.0)
alert = decide(p, costs) == 1
print(f"{alert.sum()} alerts, {truth[alert].mean():.1%} of them fraud")
print(f"{savings(truth, alert, costs):.1%} of the loss is saved")

# %%
# ## A fixed number of alerts
#
# A team that can look at 20 cards a day takes those with the largest expected loss.

found = []
for budget in (5, 10, 20, 50, 100):
    busy = daily_alerts(p * amount, days, budget, card=cards)
    found.append((budget, amount[truth & busy].sum() / amount[truth].sum()))
    print(f"{budget:>4} cards a day find {found[-1][1]:.0%} of the stolen amount")
precision = CardPrecision(20, card=cards, day=days).score(truth, p)
print(f"card precision at 20: {precision:.3f}")

figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.plot(*zip(*found, strict=True), marker="o")
ax.set(xlabel="cards a day", ylabel="share of the stolen amount", ylim=(0, 1))
ax.set_title("What a team finds, by its size", loc="left", fontsize=10)
plt.show()

# %%
# ## Serving
#
# One file is the whole model. A server needs LightGBM and this package, or ONNX Runtime
# alone, which takes categories by their codes.

with tempfile.TemporaryDirectory() as folder:
    model.save_model(Path(folder) / "fraud.txt")
    served = boostfocal.load(Path(folder) / "fraud.txt")
    onnx.save(model.to_onnx(), Path(folder) / "fraud.onnx")
    session = onnxruntime.InferenceSession(Path(folder) / "fraud.onnx")
again = served.predict_proba(X[test])[:, 1]
codes = X[test].assign(country=X["country"].cat.codes, kind=X["kind"].cat.codes)
answer = session.run(["probabilities"], {"X": codes.to_numpy(np.float64)})[0][:, 1]
print(f"largest difference of the reloaded model {np.abs(again - p).max():.0e}")
print(f"largest difference of the ONNX model     {np.abs(answer - p).max():.0e}")

# %%
# When new labels are in, [`check`](drift.md) says whether the model still fits.
