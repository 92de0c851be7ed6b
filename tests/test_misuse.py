"""What people get wrong with tensors, layers, losses and training, and the words that the error must have.

Images, data sets and data loaders have such tables in the tests of their modules.
"""

import numpy as np
import pytest

from tinytorch import Embedding, concatenate, split, stack, where
from tinytorch.activations import ReLU, Softmax, gelu, leaky_relu, sigmoid, tanh
from tinytorch.layers import Dropout, Flatten, LayerNorm, Linear, Module, RMSNorm, Sequential
from tinytorch.losses import (
    BCEWithLogitsLoss,
    BinaryCrossEntropyLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
)
from tinytorch.optimizers import SGD, Adam, RMSprop
from tinytorch.schedules import CosineSchedule, StepSchedule
from tinytorch.tensor import Tensor, from_numpy
from tinytorch.training import clip_grad_norm


def zeros(*shape):
    return Tensor(np.zeros(shape))


def leaf(*shape):
    return Tensor(np.ones(shape), requires_grad=True)


def whole(*numbers):
    return from_numpy(np.array(numbers))


def backward_twice():
    y = (leaf(3) * leaf(3)).sum()
    y.backward()
    y.backward()


def change_before_backward():
    x = leaf(3)
    y = (x * x).sum()
    x.data = np.zeros(3, np.float32)
    y.backward()


def step_before_backward():
    layer = Linear(2, 2)
    loss = (layer(leaf(1, 2)) ** 2).sum()
    for parameter in layer.parameters():
        parameter.grad = np.ones_like(parameter.data)
    SGD(layer.parameters()).step()
    loss.backward()


def add_in_place():
    x = leaf(3)
    x += 1


def add_too_much_in_place():
    x = zeros(2, 3)
    x += zeros(4, 2, 3)


def halve_whole_numbers_in_place():
    x = whole(1, 2)
    x /= 2


def assign_too_much():
    zeros(2, 3)[0] = np.zeros(4)


def assign_to_leaf():
    leaf(3)[0] = 1


def wrong_gradient():
    p = leaf(2)
    p.grad = np.ones(3)
    SGD([p]).step()


def late_learning_rate():
    optimizer = SGD([leaf(2)])
    optimizer.lr = -1
    optimizer.step()


TENSOR = {
    "text": (lambda: Tensor("one"), "Tensor: cannot hold"),
    "nothing": (lambda: Tensor(None), "Tensor: cannot hold object"),
    "ragged rows": (lambda: Tensor([[1, 2], [3]]), "Tensor: cannot make an array of numbers from list"),
    "whole numbers with a gradient": (
        lambda: Tensor([1], dtype=int, requires_grad=True),
        "only floating-point tensors can require",
    ),
    "shapes that don't broadcast": (
        lambda: zeros(32, 10) + zeros(12),
        r"(?s)\+:.*\(32, 10\).*\^ axis -1.*unsqueeze",
    ),
    "comparing other shapes": (lambda: zeros(2, 3) > zeros(2), r">: these shapes do not broadcast"),
    "a word in a sum": (lambda: zeros(2) + "2", "unsupported operand"),
    "a negative power of whole numbers": (
        lambda: whole(2) ** -1,
        r"\*\* of int64 and int64.*astype\('float32'\)",
    ),
    "subtracting truths": (
        lambda: Tensor([True]) - Tensor([True]),
        r"- of bool and bool.*astype\('float32'\)",
    ),
    "matrices that don't meet": (lambda: zeros(2, 3) @ zeros(2, 3), "3 ≠ 2\n.*is a transpose missing"),
    "batches that don't meet": (lambda: zeros(5, 2, 3) @ zeros(4, 3, 2), "matmul: the leading axes do not"),
    "a product with a list": (lambda: zeros(2).matmul([1, 2]), "matmul: expected a Tensor, got list"),
    "an axis too far": (lambda: zeros(2, 3).sum(axis=2), r"sum: there is no axis 2.*\(2, 3\).*-2 to 1"),
    "an axis too far in a mean": (lambda: zeros(2, 3).mean(axis=2), "mean: there is no axis 2"),
    "an axis too far in a variance": (lambda: zeros(2, 3).std(axis=(0, 2)), "var: there is no axis 2"),
    "an axis too far in argmax": (lambda: zeros(2, 3).argmax(axis=-3), "argmax: there is no axis -3"),
    "an axis twice": (lambda: zeros(2, 3).sum(axis=(0, -2)), r"sum: axis 0 of shape \(2, 3\) is named twice"),
    "half an axis": (lambda: zeros(2, 3).max(axis=0.5), "max: an axis is a whole number.*not 0.5"),
    "an axis of a number": (lambda: split(zeros(), 1), "split: there is no axis 0.*a single number"),
    "the largest of nothing": (lambda: Tensor([]).max(), r"max: a tensor of shape \(0,\) has no elements"),
    "the place of the smallest of nothing": (lambda: zeros(2, 0).argmin(axis=1), "argmin: .* no elements"),
    "reshape to another size": (lambda: zeros(2, 3).reshape(4), "Total elements must match: 6 ≠ 4"),
    "reshape to two unknowns": (lambda: zeros(2, 3).reshape(-1, -1), "only specify one unknown"),
    "reshape to half": (lambda: zeros(2, 3).reshape(1.5, 4), "reshape.*must be whole numbers"),
    "flatten an axis too far": (lambda: zeros(2, 3).flatten(2), r"flatten: there is no axis 2"),
    "flatten backwards": (lambda: zeros(2, 3, 4).flatten(2, 1), "start_dim=2 lies behind end_dim=1"),
    "squeeze a long axis": (
        lambda: zeros(2, 1).squeeze(0),
        "squeeze: axis 0 of shape .* has 2 elements, and only",
    ),
    "squeeze an axis too far": (lambda: zeros(2, 1).squeeze(2), "squeeze: there is no axis 2"),
    "unsqueeze too far": (lambda: zeros(2, 3).unsqueeze(3), "unsqueeze: there is no axis 3.*-3 to 2"),
    "expand a long axis": (lambda: zeros(2, 3).expand(4, 3), r"(?s)expand: only axes of size 1.*\^ axis -2"),
    "transpose one axis": (lambda: zeros(2, 3).transpose(0), "Both dim0 and dim1 must be specified"),
    "transpose an axis too far": (lambda: zeros(2, 3).transpose(0, 2), "transpose: there is no axis 2"),
    "permute some axes": (lambda: zeros(2, 3).permute(0), "permute: .* each of the 2 axes of shape"),
    "permute one axis twice": (lambda: zeros(2, 3).permute(0, 0), "permute: axis 0 .* named twice"),
    "an index too far": (lambda: zeros(2, 3)[0, 3], r"\(2, 3\): index 3 is out of bounds for axis 1"),
    "an index too many": (
        lambda: zeros(2, 3)[0, 0, 0],
        r"\(2, 3\): too many indices.*one index for each axis",
    ),
    "half an index": (lambda: zeros(2, 3)[0.5], r"an index is a whole number.*int\(i\)"),
    "half an index in a tensor": (lambda: zeros(3)[Tensor([1.7])], r"whole numbers, but found 1\.7"),
    "a mask of another size": (lambda: zeros(2, 3)[np.ones(3, bool)], "boolean index.*a mask needs"),
    "index arrays that don't meet": (lambda: zeros(2, 3)[[0, 1], [0, 1, 2]], r"index arrays must broadcast"),
    "assigning another shape": (assign_too_much, r"assigning to elements of a tensor of shape \(2, 3\)"),
    "assigning where a gradient flows": (assign_to_leaf, r"assigning.*use where\(condition, a, b\)"),
    "+= that needs more room": (
        add_too_much_in_place,
        r"(?s)\+=: the result must fit.*\(4, 2, 3\).*x = x \+",
    ),
    "/= of whole numbers": (halve_whole_numbers_in_place, r"/=: a tensor of int64 cannot hold.*astype"),
    "clip to nothing": (lambda: zeros(2).clip(), "clip: give min, max, or both"),
    "concatenate other sizes": (
        lambda: concatenate([zeros(2, 3), zeros(2, 4)]),
        r"axis 0: .* axis 1 has 3 .* and 4",
    ),
    "concatenate other ranks": (lambda: concatenate([zeros(2, 3), zeros(3)]), "as many axes.*unsqueeze"),
    "concatenate nothing": (lambda: concatenate([]), "concatenate: needs at least one"),
    "stack other shapes": (lambda: stack([zeros(2), zeros(3)]), r"(?s)stack: all .* one shape.*\^ axis -1"),
    "stack too far": (lambda: stack([zeros(2)], axis=2), "stack: there is no axis 2"),
    "split to another size": (
        lambda: split(zeros(5), [2, 2]),
        r"split: sizes \[2, 2\] do not add up to the 5",
    ),
    "split into halves of one": (lambda: split(zeros(5), 0.5), "split: size must be whole and positive"),
    "split an axis too far": (lambda: split(zeros(5), 1, axis=1), "split: there is no axis 1"),
    "where of other shapes": (lambda: where(zeros(2) > 0, zeros(3), zeros(3)), "where.*do not broadcast"),
    "many as a number": (lambda: zeros(2).item(), "exactly one element.* has 2"),
    "many as a truth": (lambda: bool(zeros(2) > 1), "neither true nor false"),
    "the length of a number": (lambda: len(zeros()), "0-D"),
}

AUTOGRAD = {
    "backward a second time": (backward_twice, "second time.*retain_graph=True"),
    "backward without a gradient": (
        lambda: zeros(2).sum().backward(),
        "does not depend on any tensor with requires_grad",
    ),
    "backward of many": (lambda: (leaf(2) * 2).backward(), r"needs a scalar.*shape \(2,\).*\.sum\(\)"),
    "backward from another shape": (lambda: (leaf(2) * 2).backward(np.ones(3)), r"gradient has shape \(3,\)"),
    "a change before backward": (change_before_backward, "MulBackward: an input was changed"),
    "a step before backward": (step_before_backward, r"changed after it was used.*optimizer\.step"),
    "a leaf changed in place": (add_in_place, r"would lose its gradient.*no_grad\(\)"),
    "a gradient lost to NumPy": (lambda: np.sin(leaf(2)), r"lose the gradient.*detach"),
    "a tensor without a gradient that keeps it": (
        lambda: zeros(2).retain_grad(),
        "retain_grad.*requires_grad=True",
    ),
    "a hook that is never called": (
        lambda: zeros(2).register_hook(print),
        "register_hook.*never gets a gradient",
    ),
}

LAYERS = {
    "an array in an activation": (
        lambda: ReLU()(np.zeros(3)),
        r"relu: expected a Tensor, got ndarray; wrap it",
    ),
    "a number in an activation": (lambda: sigmoid(3.0), "sigmoid: expected a Tensor, got float"),
    "a list in an activation": (lambda: tanh([1.0]), "tanh: expected a Tensor, got list"),
    "a memory view in an activation": (lambda: leaky_relu(np.zeros(3).data), "leaky_relu: .* got memoryview"),
    "an unknown GELU": (lambda: gelu(zeros(2), "fast"), "approximate must be one of.*'fast'"),
    "softmax along an axis too far": (lambda: Softmax(dim=2)(zeros(2, 3)), "softmax: axis 2 does not exist"),
    "other features": (lambda: Linear(3, 4)(zeros(2, 4)), r"must have 3 features.*\(2, 4\)"),
    "an array in a layer": (lambda: Linear(3, 4)(np.zeros((2, 3))), "Linear: expected a Tensor, got ndarray"),
    "no features": (lambda: Linear(0, 4), "in_features must be a positive whole number"),
    "layers in a list": (lambda: Sequential([Linear(2, 3)]), "takes layers one by one"),
    "norm of another width": (lambda: LayerNorm(3)(zeros(2, 4)), r"last axis.*must have 3.*\(2, 4\)"),
    "norm of two axes": (lambda: LayerNorm((2, 3)), "last axis only"),
    "norm with a negative eps": (lambda: RMSNorm(3, eps=-1e-5), "RMSNorm: eps .* at least 0"),
    "a probability above 1": (lambda: Dropout(1.5), "Dropout: p is a probability"),
    "flatten without axes": (lambda: Flatten()(zeros(3)), "flatten: there is no axis 1"),
    "a layer without forward": (lambda: Module()(1), "Module does not define forward"),
    "a state of another model": (lambda: Linear(1, 1).load_state_dict({"w": 1}), "missing: .*unknown: .*w"),
    "a state of another shape": (
        lambda: Linear(1, 2).load_state_dict(Linear(1, 3).state_dict()),
        r"load_state_dict: weight in the state",
    ),
    "half a token": (
        lambda: Embedding(5, 3)(Tensor([1.7])),
        r"token ids must be whole numbers, but found 1\.7",
    ),
    "a token too far": (lambda: Embedding(5, 3)([[1, 5]]), r"Index out of range: id 5 at position \(0, 1\)"),
    "a negative token": (lambda: Embedding(5, 3)([-1]), "Index out of range: id -1"),
}

LOSSES = {
    "a column against a row": (
        lambda: MSELoss()(zeros(4, 1), zeros(4)),
        r"(?s)one shape.*target\.reshape\(4, 1\)",
    ),
    "other lengths": (lambda: L1Loss()(zeros(2), zeros(3)), "L1Loss: .* one shape"),
    "the mean of nothing": (lambda: MSELoss()(zeros(0), zeros(0)), "mean over no elements"),
    "an array as a prediction": (lambda: MSELoss()(np.zeros(2), zeros(2)), "MSELoss: expected a Tensor"),
    "no delta": (lambda: HuberLoss(0), "HuberLoss: delta must be positive"),
    "class -1": (lambda: CrossEntropyLoss()(zeros(2, 3), [0, -1]), "label -1 in row 1 is not a class.*0 … 2"),
    "a class too far": (lambda: CrossEntropyLoss()(zeros(2, 3), [3, 0]), "label 3 in row 0 is not a class"),
    "half a class": (lambda: CrossEntropyLoss()(zeros(2, 3), [0, 0.5]), "whole numbers, but found 0.5"),
    "other rows": (lambda: CrossEntropyLoss()(zeros(2, 3), [0, 1, 2]), r"\(2, 3\) and \(3,\); reshape"),
    "one-hot whole numbers": (lambda: CrossEntropyLoss()(zeros(2, 2), np.eye(2, dtype=int)), "argmax"),
    "probabilities above 1": (
        lambda: CrossEntropyLoss()(zeros(1, 2), Tensor([[0.9, 0.9]])),
        r"row 0 add up to 1\.8, not to 1",
    ),
    "all ignored": (lambda: CrossEntropyLoss(ignore_index=0)(zeros(1, 2), [0]), "every row is ignored"),
    "too much smoothing": (
        lambda: CrossEntropyLoss(label_smoothing=1.0),
        r"label_smoothing must lie in \[0, 1\)",
    ),
    "a logit as a probability": (
        lambda: BinaryCrossEntropyLoss()(Tensor([2.0]), [1.0]),
        "apply a Sigmoid first",
    ),
    "a target above 1": (
        lambda: BCEWithLogitsLoss()(Tensor([2.0]), [2.0]),
        r"target must lie in \[0, 1\], found 2",
    ),
}

TRAINING = {
    "a negative learning rate": (
        lambda: SGD([leaf(1)], lr=-0.1),
        "SGD: lr must be finite and not negative, got -0.1",
    ),
    "a learning rate that is none": (lambda: Adam([leaf(1)], lr=float("nan")), "Adam: lr must be finite"),
    "a learning rate in words": (lambda: SGD([leaf(1)], lr="0.1"), "SGD: lr must be .*got '0.1'"),
    "a negative learning rate later on": (late_learning_rate, "SGD: lr must be finite and not negative"),
    "a beta of 1": (lambda: Adam([leaf(1)], betas=(0.9, 1.0)), r"beta2 must lie in \[0, 1\)"),
    "one beta": (lambda: Adam([leaf(1)], betas=0.9), r"betas are two, \(beta1, beta2\)"),
    "a negative momentum": (lambda: RMSprop([leaf(1)], momentum=-1), "RMSprop: momentum must be"),
    "Nesterov without momentum": (lambda: SGD([leaf(1)], nesterov=True), "momentum must be above 0"),
    "nothing to train": (lambda: SGD([]), "no parameters"),
    "a model as parameters": (lambda: SGD(Linear(1, 1)), r"pass model\.parameters\(\)"),
    "a frozen parameter": (lambda: SGD([zeros(2)]), "requires_grad=False"),
    "a result as a parameter": (lambda: SGD([leaf(2) * 2]), "computed from other tensors"),
    "a parameter twice": (lambda: SGD([leaf(1)] * 2), "appears twice"),
    "an unknown option of a group": (
        lambda: SGD([{"params": [leaf(1)], "speed": 1}]),
        "unknown speed; it may have lr",
    ),
    "a gradient of another shape": (wrong_gradient, r"params\[0\] has shape \(2,\).*\(3,\)"),
    "a saved state of another optimizer": (
        lambda: SGD([leaf(1)]).load_state_dict(Adam([leaf(1)]).state_dict()),
        "SGD: the saved state is that of Adam",
    ),
    "clipping to less than nothing": (
        lambda: clip_grad_norm([leaf(1)], -1),
        "max_norm must be positive, got -1",
    ),
    "a schedule that rises": (lambda: CosineSchedule(0.1, 0.2), "needs 0 ≤ min_lr ≤ max_lr"),
    "a schedule in words": (lambda: CosineSchedule("fast"), "CosineSchedule: needs .* got 0.01 and 'fast'"),
    "a step of no length": (lambda: StepSchedule(step_size=0), "step_size must be positive and whole"),
}

MISUSE = {**TENSOR, **AUTOGRAD, **LAYERS, **LOSSES, **TRAINING}


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_explained(what):
    mistake, words = MISUSE[what]
    with pytest.raises((ValueError, TypeError, RuntimeError, IndexError, KeyError), match=words):
        mistake()
