"""Our kernels against NumPy, PyTorch, ONNX Runtime and SciPy: one process, in turn, equal threads.

``python -m benchmarks --help`` says how to run it. A module with a function ``cases(threads)`` is a family.
"""
