"""Real data: two sets that ship with the package (digits and texts)."""

from tinytorch.datasets.digits import augment_digits, digits_folds, load_digits
from tinytorch.datasets.text import TEXTS, load_text, next_token_windows

__all__ = ["TEXTS", "augment_digits", "digits_folds", "load_digits", "load_text", "next_token_windows"]
