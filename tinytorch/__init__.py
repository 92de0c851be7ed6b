"""TinyTorch: learn machine-learning systems on a small framework whose every speed-up is real.

The names most people need are here; each comes from the module of the course that teaches it. The compiled
kernels, which can be called, replaced and raced, are in `tinytorch.kernels`.
"""

import importlib
from types import ModuleType

from . import kernels
from ._aliases import install as _install_aliases
from .activations import GELU, ReLU, Sigmoid, Softmax, Tanh
from .attention import MultiHeadAttention, scaled_dot_product_attention
from .autograd import enable_autograd, no_grad
from .dataloader import Compose, DataLoader, Dataset, RandomCrop, RandomHorizontalFlip, TensorDataset
from .embeddings import Embedding, EmbeddingLayer, PositionalEncoding, RotaryEmbedding
from .joining import concatenate, split, stack, where
from .layers import Dropout, Flatten, Layer, Linear, Sequential
from .losses import BinaryCrossEntropyLoss, CrossEntropyLoss, MSELoss
from .module import Module, Parameter
from .optimizers import SGD, Adam, AdamW, RMSprop
from .spatial import AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d
from .tensor import Tensor
from .tokenization import BPETokenizer, ByteBPETokenizer, CharTokenizer, Tokenizer
from .training import (
    CosineSchedule,
    EarlyStopping,
    OneCycleSchedule,
    SaveCheckpoint,
    StepSchedule,
    Trainer,
    WarmupSchedule,
    clip_grad_norm,
    manual_seed,
)
from .transformers import GPT, MLP, LayerNorm, TransformerBlock, create_causal_mask

__version__ = "0.1.0"

# Imported when they are first asked for.
_LATER = ("core", "datasets", "models", "nn", "optim", "viz")


def __getattr__(name: str) -> ModuleType:
    if name in _LATER:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_install_aliases()

__all__ = [
    "GELU",
    "GPT",
    "MLP",
    "SGD",
    "Adam",
    "AdamW",
    "AvgPool2d",
    "BPETokenizer",
    "BatchNorm2d",
    "BinaryCrossEntropyLoss",
    "ByteBPETokenizer",
    "CharTokenizer",
    "Compose",
    "Conv2d",
    "CosineSchedule",
    "CrossEntropyLoss",
    "DataLoader",
    "Dataset",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "EmbeddingLayer",
    "Flatten",
    "Layer",
    "LayerNorm",
    "Linear",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "MultiHeadAttention",
    "OneCycleSchedule",
    "Parameter",
    "PositionalEncoding",
    "RMSprop",
    "RandomCrop",
    "RandomHorizontalFlip",
    "ReLU",
    "RotaryEmbedding",
    "SaveCheckpoint",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "StepSchedule",
    "Tanh",
    "Tensor",
    "TensorDataset",
    "Tokenizer",
    "Trainer",
    "TransformerBlock",
    "WarmupSchedule",
    "clip_grad_norm",
    "concatenate",
    "create_causal_mask",
    "enable_autograd",
    "kernels",
    "manual_seed",
    "no_grad",
    "scaled_dot_product_attention",
    "split",
    "stack",
    "where",
]
