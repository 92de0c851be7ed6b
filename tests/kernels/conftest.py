"""Hypothesis for kernels: a moderate number of cases, and no clock, since timing decides no test."""

from hypothesis import settings

settings.register_profile("kernels", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("kernels")
