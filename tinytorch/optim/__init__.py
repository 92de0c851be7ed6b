"""Optimizers, under the names that PyTorch users type."""

from tinytorch.optimizers import SGD, Adam, AdamW, Optimizer

__all__ = ["SGD", "Adam", "AdamW", "Optimizer"]
