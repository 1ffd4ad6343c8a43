"""The row formulas (`rows`) and what compiles them: `elementwise` and `softmax` on `lanes` for the CPU, and CUDA."""
