"""What holds for all tests: two threads unless asked otherwise, and the same random cases in every run."""

import os

# Before anything imports tinytorch, which reads it then.
os.environ.setdefault("TINYTORCH_NUM_THREADS", "2")

from hypothesis import settings

# No deadline: timing decides no test.
settings.register_profile("tinytorch", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("tinytorch")
