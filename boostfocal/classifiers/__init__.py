"""The scikit-learn classifiers of both engines with focal loss inside, and their files."""
