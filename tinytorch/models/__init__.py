"""Models that made history, each in a page, built from this package's layers."""

from tinytorch.models.cnn import DigitsCNN
from tinytorch.models.files import load_model, save_model
from tinytorch.models.gpt import char_gpt, next_token_loss
from tinytorch.models.lenet import LeNet
from tinytorch.models.llama import Llama
from tinytorch.models.mlp import MLPClassifier
from tinytorch.models.perceptron import Perceptron
from tinytorch.models.resnet import ResNet

__all__ = [
    "DigitsCNN",
    "LeNet",
    "Llama",
    "MLPClassifier",
    "Perceptron",
    "ResNet",
    "char_gpt",
    "load_model",
    "next_token_loss",
    "save_model",
]
