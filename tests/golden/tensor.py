"""Operations of Tensor: arithmetic, comparisons, reductions, shapes, indexing, joining."""

from functools import partial

import numpy as np

from . import _case
from ._case import EDGES, Case

# Two operands, also as they broadcast, in both orders.
ARITHMETIC = {
    "add": lambda t, a, b: a + b,
    "sub": lambda t, a, b: a - b,
    "mul": lambda t, a, b: a * b,
    "div": lambda t, a, b: a / b,
    "pow": lambda t, a, b: a**b,
    "where": lambda t, a, b: t.where(a > b, a, b),
    "nested": lambda t, a, b: (a * b + a) / (b * b + 1) - b,
    "equal": lambda t, a, b: a == b * (a / b > 0),
    "unequal": lambda t, a, b: a != a.detach() * (a > b),
    "less": lambda t, a, b: a < b,
    "less_equal": lambda t, a, b: a <= b,
    "greater": lambda t, a, b: a > b,
    "greater_equal": lambda t, a, b: a >= b,
}
BROADCASTS = [
    ((2, 3), (2, 3)),
    ((3,), (2, 3)),
    ((2, 3), (3,)),
    ((2, 1), (1, 3)),
    ((), (2, 2)),
    ((4, 1, 2), (3, 1)),
]

ONE_OPERAND = {
    "neg": lambda t, x: -x,
    "abs": lambda t, x: x.abs(),
    "builtin_abs": lambda t, x: abs(x),
    "exp": lambda t, x: x.exp(),
    "log": lambda t, x: x.log(),
    "sqrt": lambda t, x: x.sqrt(),
    "tanh": lambda t, x: x.tanh(),
    "clip": lambda t, x: x.clip(0.7, 1.5),
    "clip_min": lambda t, x: x.clip(min=1.0),
    "clamp_max": lambda t, x: x.clamp(max=1.0),
    "number_add": lambda t, x: 2 + x + 0.5,
    "number_sub": lambda t, x: 1 - (x - 3),
    "number_mul": lambda t, x: -3 * x * 0.5,
    "number_div": lambda t, x: 1 / (x / 3),
    "square": lambda t, x: x**2,
    "root": lambda t, x: x**-0.5,
    "zeroth": lambda t, x: x**0,
    "power_of_two": lambda t, x: 2**x,
    "used_often": lambda t, x: x * x + x / (x + x) - x.exp() * x,
    "clone": lambda t, x: x.clone(),
}  # fmt: skip

REDUCTIONS = {
    "sum": (lambda t, x, **o: x.sum(**o), None),
    "mean": (lambda t, x, **o: x.mean(**o), None),
    "max": (lambda t, x, **o: x.max(**o), lambda t, x, **o: x.amax(**o)),
    "min": (lambda t, x, **o: x.min(**o), lambda t, x, **o: x.amin(**o)),
    "var": (lambda t, x, **o: x.var(**o), None),
    "std": (lambda t, x, **o: x.std(**o), None),
    "var_biased": (lambda t, x, **o: x.var(correction=0, **o), None),
}
AXES = {
    "": {},
    "_first": {"axis": 0},
    "_last": {"axis": -1},
    "_pair": {"axis": (0, 2)},
    "_kept": {"axis": (-1, 1), "keepdims": True},
}

TIED = np.array([[3.0, 1, 3], [0, 0, 2], [1, 1, 1]])

PRODUCTS = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (5, 3, 4)), ((2, 3), (5, 3, 4)), ((2, 1, 2, 3), (5, 3, 2)), ((3,), (5, 3, 2)),
    ((5, 2, 3), (3,)),
]  # fmt: skip

SHAPES = {
    "reshape": lambda t, x: x.reshape(4, 6),
    "reshape_unknown": lambda t, x: x.reshape((-1, 2)),
    "view": lambda t, x: x.view(6, -1),
    "flatten": lambda t, x: x.flatten(),
    "flatten_from": lambda t, x: x.flatten(1),
    "flatten_between": lambda t, x: x.flatten(0, 1),
    "transpose": lambda t, x: x.transpose(0, 2),
    "transpose_negative": lambda t, x: x.transpose(-1, 1),
    "permute": lambda t, x: x.permute(2, 0, 1),
    "permute_negative": lambda t, x: x.permute((-1, 0, -2)),
    "unsqueeze": lambda t, x: x.unsqueeze(1) * 2,
    "unsqueeze_last": lambda t, x: x.unsqueeze(-1) * 2,
    "squeeze": lambda t, x: x[:1, :, :1].squeeze(),
    "squeeze_axis": lambda t, x: x[:, 1:2].squeeze(1),
    "squeeze_axes": lambda t, x: x[:1, :, :1].squeeze((0, -1)),
    "expand": lambda t, x: x.unsqueeze(1).expand(2, 5, -1, 4),
    "expand_in_front": lambda t, x: x.expand(5, -1, 3, 4),
    "concatenate": lambda t, x: t.concatenate([x, x * 2, x[:, :1]], 1),
    "concatenate_negative": lambda t, x: t.concatenate([x[..., :1], x], -1),
    "stack": lambda t, x: t.stack([x, x * x]),
    "stack_last": lambda t, x: t.stack([x, x * x, 2 * x], -1),
    "split": lambda t, x: t.split(x, 2, 1)[1] * t.split(x, 1, 1)[0],
    "split_sizes": lambda t, x: t.split(x, [1, 3], -1)[1],
}

KEYS = {
    "first": 0, "last": -1, "slice": slice(1, None), "steps": (slice(None), slice(None, None, 2)),
    "backwards": slice(None, None, -1), "ellipsis": (..., 1), "new_axis": (None, slice(None), None, 1),
    "one": (1, 2, 3), "numbers_and_slices": (1, slice(1, 3), -2), "empty": slice(5, None), "list": [1, 1, 0],
    "array": np.array([[0, -1], [1, 1]]),
    "array_inside": (slice(None), [0, 0, 2]), "pairs": ([0, 1, 0], [2, 0, 2]),
    "outer": (np.array([[0], [1]]), np.array([2, 0, 2])), "around_slice": ([0, 1, 1], slice(None), [1, 3, 3]),
    "mask": np.arange(24).reshape(2, 3, 4) % 5 < 2, "mask_rows": np.array([False, True]),
    "mask_inside": (slice(None), np.array([True, False, True])), "mask_pairs": (np.eye(2, 3, dtype=bool), 1),
    "nothing": np.array([], int),
}  # fmt: skip


def picking(key):
    """PyTorch's counterpart of x[key]: the same elements by their numbers, since it has no negative steps."""

    def theirs(t, x):
        numbers = np.arange(x.numel()).reshape(x.shape)[key]
        return t.take(x, t.from_numpy(np.array(numbers)))

    return Case(lambda t, x: x[key], ((2, 3, 4),), theirs)


CASES = {
    **{
        f"{name}{i}": Case(expression, shapes, draw="positive" if name == "pow" else "normal")
        for name, expression in ARITHMETIC.items()
        for i, shapes in enumerate(BROADCASTS)
    },
    **{name: Case(expression, ((2, 5),), draw="positive") for name, expression in ONE_OPERAND.items()},
    **{
        f"{name}{suffix}": Case(partial(ours, **options), ((2, 3, 4),), partial(theirs or ours, **options))
        for name, (ours, theirs) in REDUCTIONS.items()
        for suffix, options in AXES.items()
    },
    "argmax": Case(lambda t, x: x.argmax(), ((3, 4),)),
    "argmax_axis": Case(lambda t, x: x.argmax(axis=-1), ((3, 4),)),
    "argmin_axis": Case(lambda t, x: x.argmin(axis=0), ((3, 4),)),
    "tied_max": Case(lambda t, x: x.max(), (TIED,), lambda t, x: x.amax()),
    "tied_min": Case(lambda t, x: x.min(axis=1), (TIED,), lambda t, x: x.amin(axis=1)),
    **{
        f"{name}_edges": Case(ONE_OPERAND[name], (EDGES,))
        for name in ("abs", "exp", "log", "sqrt", "tanh", "clip", "square", "zeroth", "power_of_two")
    },
    **{
        f"{name}_edges": Case(ARITHMETIC[name], (EDGES[:, None], EDGES))
        for name in ("mul", "div", "where", "equal", "less", "greater_equal")
    },
    **{f"matmul{i}": Case(lambda t, a, b: a @ b, shapes) for i, shapes in enumerate(PRODUCTS)},
    "transpose_last_two": Case(lambda t, x: x.transpose(), ((2, 3, 4),), lambda t, x: x.mT),
    "reverse_axes": Case(lambda t, x: x.T, ((2, 3, 4),), lambda t, x: x.permute(2, 1, 0)),
    **{name: Case(expression, ((2, 3, 4),)) for name, expression in SHAPES.items()},
    **{f"index_{name}": picking(key) for name, key in KEYS.items()},
}  # fmt: skip


def make():
    return _case.make(CASES)
