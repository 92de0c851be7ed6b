"""Real data: two sets that ship with the package (digits and texts), and readers for MNIST and CIFAR-10."""

from tinytorch.datasets.cifar10 import CIFAR10, download_cifar10, load_cifar10
from tinytorch.datasets.digits import augment_digits, digits_folds, load_digits
from tinytorch.datasets.mnist import MNIST, download_mnist, load_mnist
from tinytorch.datasets.text import TEXTS, load_text, next_token_windows

__all__ = [
    "CIFAR10",
    "MNIST",
    "TEXTS",
    "augment_digits",
    "digits_folds",
    "download_cifar10",
    "download_mnist",
    "load_cifar10",
    "load_digits",
    "load_mnist",
    "load_text",
    "next_token_windows",
]
