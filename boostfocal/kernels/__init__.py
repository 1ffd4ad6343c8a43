"""The row formulas (`rows`), and what compiles them: for the CPU `elementwise` and `softmax`, on `lanes`, and for CUDA."""
