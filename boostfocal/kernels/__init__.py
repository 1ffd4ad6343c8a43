"""The row formulas (`rows`), and what computes them: `elementwise` and `softmax` on the CPU, and CUDA.

Their loops (`elementwise_loops`, `softmax_loops`, on `lanes`) are imported only to be compiled: see `cache`.
"""

from . import cache as cache  # first, since it takes a digest of the text of the others
