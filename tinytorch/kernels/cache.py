"""The storage in which decoding keeps the keys and values of past positions."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_floats, as_int, check_choice, check_ndim
from .reference.quantize import quantize_positions

__all__ = ["KVCache"]

CACHE_LINE = 64


def _aligned_zeros(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Zeros that begin with a cache line: a vector that lies across two lines is read as two."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)


class KVCache:
    """Keys and values of every layer, allocated once and filled in place.

    Parameters
    ----------
    batch_size, max_seq_len, num_layers, num_kv_heads, head_dim : int
        Each at least 1.
    dtype : "float32" or "int8"
        int8 keeps one scale, max|x| / 127, for each position and head: about a quarter of the bytes.

    Attributes
    ----------
    keys, values : array, (num_layers, batch_size, num_kv_heads, max_seq_len, head_dim)
    key_scales, value_scales : array, (num_layers, batch_size, num_kv_heads, max_seq_len), or None
        The scales of an int8 cache.
    lengths : array of int64, (batch_size,)
        How many positions of each sequence are stored.
    nbytes : int
        Bytes held, scales included.

    Examples
    --------
    >>> cache = KVCache(batch_size=1, max_seq_len=128, num_layers=2, num_kv_heads=4, head_dim=16)
    >>> cache.nbytes
    131072
    """

    __slots__ = (
        "_layers",
        "dtype",
        "head_dim",
        "key_scales",
        "keys",
        "lengths",
        "value_scales",
        "values",
    )

    def __init__(
        self,
        batch_size: int,
        max_seq_len: int,
        num_layers: int,
        num_kv_heads: int,
        head_dim: int,
        dtype: str = "float32",
    ) -> None:
        check_choice("KVCache", "dtype", dtype, ("float32", "int8"))
        shape = tuple(
            as_int("KVCache", name, size, 1)
            for name, size in (
                ("num_layers", num_layers),
                ("batch_size", batch_size),
                ("num_kv_heads", num_kv_heads),
                ("max_seq_len", max_seq_len),
                ("head_dim", head_dim),
            )
        )
        self.dtype = dtype
        self.head_dim = shape[-1]
        self.keys = _aligned_zeros(shape, dtype)
        self.values = _aligned_zeros(shape, dtype)
        scaled = dtype == "int8"
        self.key_scales = np.zeros(shape[:-1], np.float32) if scaled else None
        self.value_scales = np.zeros(shape[:-1], np.float32) if scaled else None
        self.lengths = np.zeros(shape[1], np.int64)
        # One tuple of views for each layer, made here so that decoding need not make them.
        self._layers = tuple(self._views(layer) for layer in range(shape[0]))

    def _views(self, layer: int) -> tuple[np.ndarray, np.ndarray, Any, Any]:
        key_scales = None if self.key_scales is None else self.key_scales[layer]
        value_scales = None if self.value_scales is None else self.value_scales[layer]
        return self.keys[layer], self.values[layer], key_scales, value_scales

    @property
    def max_seq_len(self) -> int:
        """How many positions a sequence can hold."""
        return self.keys.shape[3]

    @property
    def nbytes(self) -> int:
        scales = 0 if self.key_scales is None else 2 * self.key_scales.nbytes
        return self.keys.nbytes + self.values.nbytes + scales

    def append(self, layer: int, k: ArrayLike, v: ArrayLike) -> None:
        """Store t new positions of one layer behind those already counted in lengths.

        Parameters
        ----------
        layer : int
        k, v : array, (batch_size, num_kv_heads, t, head_dim)

        Raises
        ------
        ValueError
            When the shapes do not fit or the cache would overflow; nothing is stored then.
        IndexError
            When there is no such layer.
        """
        k, v = as_floats("KVCache.append", k=k, v=v)
        layer = self._checked("KVCache.append", layer, k, v)
        for new, stored, scales in zip((k, v), self._layers[layer][:2], self._layers[layer][2:], strict=True):
            if scales is not None:
                new, new_scales = quantize_positions(new)
            for b, start in enumerate(self.lengths):
                seen = slice(start, start + k.shape[2])
                stored[b, :, seen] = new[b]
                if scales is not None:
                    scales[b, :, seen] = new_scales[b]

    def advance(self, n: int = 1) -> None:
        """Count n more positions as stored, once every layer has appended them."""
        n = as_int("KVCache.advance", "n", n, 0)
        self._check_room("KVCache.advance", n)
        self.lengths += n

    def reset(self) -> None:
        """Forget all positions; the memory stays."""
        self.lengths[:] = 0

    def _check_room(self, caller: str, n: int) -> None:
        longest = int(self.lengths.max())
        if longest + n > self.max_seq_len:
            raise ValueError(
                f"{caller}: the cache is full: {longest} positions are stored, {n} more do not fit "
                f"into max_seq_len={self.max_seq_len}; reset() it or allocate a longer one"
            )

    def _checked(self, caller: str, layer: Any, k: np.ndarray, v: np.ndarray) -> int:
        """The layer's index, once k and v are known to fit."""
        layer = as_int(caller, "layer", layer, -(2**31))
        layers, batch, heads, _, dim = self.keys.shape
        if not 0 <= layer < layers:
            raise IndexError(f"{caller}: layer {layer} of a cache with layers 0 ... {layers - 1}")
        for name, x in (("k", k), ("v", v)):
            check_ndim(caller, name, x, 4, "(B, heads, positions, D)")
            if (x.shape[0], x.shape[1], x.shape[3]) != (batch, heads, dim) or x.shape != k.shape:
                raise ValueError(
                    f"{caller}: {name} does not fit the cache\n"
                    f"  cache  ({batch}, {heads}, positions, {dim})\n  {name:<5}  {x.shape}"
                )
        self._check_room(caller, k.shape[2])
        return layer

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "_layers"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        # Views of the copied arrays, not copies of the views.
        self._layers = tuple(self._views(layer) for layer in range(len(self.keys)))

    def __repr__(self) -> str:
        layers, batch, heads, length, dim = self.keys.shape
        return (
            f"KVCache(batch_size={batch}, max_seq_len={length}, num_layers={layers}, "
            f"num_kv_heads={heads}, head_dim={dim}, dtype={self.dtype!r})"
        )
