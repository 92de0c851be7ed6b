"""The checks of each lab: lab17.py holds those of notebooks/17_quantization.py.

They lie in the package, not beside the notebooks, because three readers need the same ones: the student's
notebook, `tinytorch course check`, and a grader. What they compare with is tinytorch's own work, so no
solution is written down here; solutions stay in notebooks/, which is not installed.
"""
