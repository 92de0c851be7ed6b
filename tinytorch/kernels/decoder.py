"""One new position through all blocks of a transformer, in one call."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from . import reference
from ._checks import as_floats, as_int, as_number, check_axes, check_ndim, check_vector, is_double
from ._registry import _C, REFUSED, alternative, replacements
from .activation import gelu
from .attention import _has_room
from .cache import KVCache
from .dynamic_int8 import linear_int8_dynamic
from .int8 import PackedInt8
from .matmul import linear
from .norm import layer_norm

__all__ = ["DecoderBlock", "decode_blocks"]

Affine = tuple[np.ndarray, np.ndarray | None]
Product = tuple[np.ndarray | PackedInt8, np.ndarray | None]


class DecoderBlock(NamedTuple):
    """The weights of a pre-norm transformer block; each with its bias, which may be None.

    The weight of a product is an array, or a PackedInt8 as ``linear_int8_dynamic`` takes it.

    Attributes
    ----------
    norm1, norm2 : (E,), (E,)
        Scale and shift of the layer norms before attention and before the MLP.
    q : (E, H * D), (H * D,)
    k, v : (E, G * D), (G * D,)
        G divides H: query head h reads head h // (H / G) (grouped-query attention).
    out : (H * D, E), (E,)
    expand : (E, F), (F,)
    contract : (F, E), (E,)
    eps1, eps2 : float
        Of the norms.
    """

    norm1: Affine
    q: Product
    k: Product
    v: Product
    out: Product
    norm2: Affine
    expand: Product
    contract: Product
    eps1: float = 1e-5
    eps2: float = 1e-5


def decode_blocks(x: ArrayLike, blocks: tuple[DecoderBlock, ...], cache: KVCache, heads: int) -> np.ndarray:
    """One new position of each sequence through all blocks of a transformer.

    Each block adds ``out(attention(q, k, v))`` of its first norm to x, then ``contract(gelu(expand(.)))``
    of its second, with the erf form of gelu. Keys and values go to the block's layer of the cache.

    Parameters
    ----------
    x : array, (B, 1, E)
    blocks : tuple of DecoderBlock
        One for each layer of the cache.
    cache : KVCache
        float32 or int8. Its lengths do not change: call ``cache.advance()`` afterwards.
    heads : int
        Of the queries; the cache knows those of the keys.

    Returns
    -------
    array, (B, 1, E)
        float32, or float64 when x is. x itself is left alone.

    Raises
    ------
    ValueError
        When shapes do not fit each other or the cache, or the cache is full; nothing is stored then.
    TypeError
        For a cache that is not a KVCache, blocks that are not DecoderBlocks, or values that are not numbers.

    Notes
    -----
    While a kernel it is made of is replaced (``matmul``, ``linear``, ``linear_int8_dynamic``,
    ``layer_norm``, ``gelu``, ``attention_decode``), the steps run one by one, on the replacement.
    """
    if _has_room(cache) and not replacements():
        try:
            return _C.decode_blocks(x, blocks, cache._layers, cache.lengths, heads)
        except REFUSED:
            pass
    return _decode_blocks(x, blocks, cache, heads)


def _decode_blocks(x: Any, blocks: Any, cache: Any, heads: Any) -> np.ndarray:
    kernel = "decode_blocks"
    if not isinstance(cache, KVCache):
        raise TypeError(f"{kernel}: cache must be a KVCache, got {type(cache).__name__}")
    (x,) = as_floats(kernel, x=x)
    check_ndim(kernel, "x", x, 3, "(B, 1, E)")
    heads = as_int(kernel, "heads", heads, 1)
    layers, batch, kv_heads, _, dim = cache.keys.shape
    if x.shape[:2] != (batch, 1) or x.shape[2] == 0:
        raise ValueError(
            f"{kernel}: x must hold one position of each of the cache's sequences, ({batch}, 1, E), "
            f"and has shape {x.shape}"
        )
    if heads % kv_heads:
        raise ValueError(
            f"{kernel}: {heads} query heads do not divide among the cache's {kv_heads} key heads; "
            "grouped-query attention needs a multiple"
        )
    blocks = tuple(blocks)
    if len(blocks) != layers:
        raise ValueError(
            f"{kernel}: {len(blocks)} blocks for a cache with {layers} layers; each needs its own"
        )
    sizes = x.shape[2], heads * dim, kv_heads * dim
    blocks = tuple(_checked_block(f"{kernel}: block {i}", block, *sizes) for i, block in enumerate(blocks))
    cache._check_room(kernel, 1)
    arrays = (y for b in blocks for affine in b[:8] for y in affine if isinstance(y, np.ndarray))
    double = is_double(x) or any(is_double(y) for y in arrays)
    other = alternative(kernel, double, x.shape)
    if other is None and replacements():
        other = partial(
            reference.decode_blocks,
            layer_norm=layer_norm, linear=linear, linear_int8_dynamic=linear_int8_dynamic, gelu=gelu,
            attention_decode=_attend,
        )  # fmt: skip
    return (other or _C.decode_blocks)(x, blocks, cache._layers, cache.lengths, heads)


def _attend(q: np.ndarray, *rest: Any) -> np.ndarray:
    """attention_decode over arrays, as its reference and its compiled form take it."""
    return (alternative("attention_decode", is_double(q), q.shape) or _C.attention_decode)(q, *rest)


def _checked_block(where: str, block: Any, width: int, queries: int, keys: int) -> DecoderBlock:
    """The block with its arrays made right, or the error that says which of them does not fit."""
    if not isinstance(block, DecoderBlock):
        raise TypeError(f"{where} must be a DecoderBlock, got {type(block).__name__}")
    sizes = {"q": (width, queries), "k": (width, keys), "v": (width, keys), "out": (queries, width)}
    checked: dict[str, Any] = {
        name: _checked_affine(where, name, getattr(block, name), *size) for name, size in sizes.items()
    }
    for name in ("norm1", "norm2"):
        scale, shift = as_floats(
            where, ("shift",), scale=getattr(block, name)[0], shift=getattr(block, name)[1]
        )
        check_vector(where, f"{name}'s scale", scale, width, "feature")
        check_vector(where, f"{name}'s shift", shift, width, "feature")
        checked[name] = (scale, shift)
    checked["expand"] = _checked_affine(where, "expand", block.expand, width, None)
    hidden = checked["expand"][0].shape[1]
    checked["contract"] = _checked_affine(where, "contract", block.contract, hidden, width)
    for name in ("eps1", "eps2"):
        checked[name] = as_number(where, name, getattr(block, name), 0)
    return DecoderBlock(**checked)


def _checked_affine(where: str, name: str, affine: Any, rows: int, columns: int | None) -> Any:
    weight, bias = affine
    if isinstance(weight, PackedInt8):
        if len(weight.shape) != 2:
            raise ValueError(
                f"{where}: {name} must be a matrix (in, out), and this PackedInt8 holds the weights of a "
                f"convolution, {weight.shape}"
            )
        (bias,) = as_floats(where, ("bias",), bias=bias)
    else:
        weight, bias = as_floats(where, ("bias",), weight=weight, bias=bias)
        check_ndim(where, name, weight, 2, "(in, out)")
    columns = as_int(where, f"the outputs of {name}", weight.shape[1], 1) if columns is None else columns
    for axis in (0, 1):
        check_axes(
            where, f"the weight of {name} must be {(rows, columns)}",
            (name, weight.shape, axis), ("needed", (rows, columns), axis), "weights are (in, out)",
        )  # fmt: skip
    check_vector(where, f"the bias of {name}", bias, columns, "output")
    return weight, bias
