"""The storage in which decoding keeps the keys and values of past positions."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ._checks import as_floats, as_int, check_choice, check_ndim
from .reference.quantize import quantize_positions

__all__ = ["KVCache"]

CACHE_LINE = 64
ARRAYS = ("keys", "values", "key_scales", "value_scales")  # (layers, batch, heads, slots, ...), or None

Cache = TypeVar("Cache", bound="KVCache")


def _aligned_zeros(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Zeros that begin with a cache line: a vector that lies across two lines is read as two."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + CACHE_LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % CACHE_LINE
    return memory[start : start + size].view(dtype).reshape(shape)


class KVCache:
    """Keys and values of every layer, allocated once and filled in place.

    Position p of a sequence lies in slot ``p % slots``. There is a slot for each position, unless
    ``window`` asks for fewer: then the newest position takes the place of the one that is `window` older.

    Parameters
    ----------
    batch_size, max_seq_len, num_layers, num_kv_heads, head_dim : int
        Each at least 1. The sequences of a batch may differ in length.
    dtype : "float32" or "int8"
        int8 keeps one scale, max|x| / 127, for each position and head: about a quarter of the bytes.
    window : int, optional
        Keep the last `window` positions only, so that memory and time for a token stop growing. Position p
        then sees positions p - window + 1 to p ("sliding window attention"; Beltagy et al., "Longformer",
        2020; A. Jiang et al., "Mistral 7B", 2023).

    Attributes
    ----------
    keys, values : array, (num_layers, batch_size, num_kv_heads, slots, head_dim)
    key_scales, value_scales : array, (num_layers, batch_size, num_kv_heads, slots), or None
        The scales of an int8 cache.
    lengths : array of int64, (batch_size,)
        How many positions each sequence has so far, those that left the window included.
    max_seq_len : int
        How many it may have.
    nbytes : int
        Bytes held, scales included.

    Examples
    --------
    >>> cache = KVCache(batch_size=1, max_seq_len=128, num_layers=2, num_kv_heads=4, head_dim=16)
    >>> cache.nbytes
    131072
    """

    __slots__ = ("_layers", "dtype", "head_dim", "lengths", "max_seq_len", "window", *ARRAYS)

    def __init__(
        self,
        batch_size: int,
        max_seq_len: int,
        num_layers: int,
        num_kv_heads: int,
        head_dim: int,
        dtype: str = "float32",
        window: int | None = None,
    ) -> None:
        check_choice("KVCache", "dtype", dtype, ("float32", "int8"))
        layers, batch, heads, length, dim = (
            as_int("KVCache", name, size, 1)
            for name, size in (
                ("num_layers", num_layers),
                ("batch_size", batch_size),
                ("num_kv_heads", num_kv_heads),
                ("max_seq_len", max_seq_len),
                ("head_dim", head_dim),
            )
        )
        window = length if window is None else as_int("KVCache", "window", window, 1)
        shape = layers, batch, heads, min(window, length), dim
        self.window = window if window < length else None
        self.dtype, self.head_dim, self.max_seq_len = dtype, dim, length
        self.keys = _aligned_zeros(shape, dtype)
        self.values = _aligned_zeros(shape, dtype)
        scaled = dtype == "int8"
        self.key_scales = np.zeros(shape[:-1], np.float32) if scaled else None
        self.value_scales = np.zeros(shape[:-1], np.float32) if scaled else None
        self.lengths = np.zeros(batch, np.int64)
        self._layers = self._views()

    def _views(self) -> tuple[tuple[np.ndarray, np.ndarray, Any, Any], ...]:
        """One tuple of views for each layer, made once so that decoding need not make them."""

        def view(array: np.ndarray | None, layer: int) -> Any:
            return None if array is None else array[layer]

        return tuple(
            (self.keys[i], self.values[i], view(self.key_scales, i), view(self.value_scales, i))
            for i in range(len(self.keys))
        )

    @property
    def slots(self) -> int:
        """How many positions of a sequence are held at most: its window, or max_seq_len."""
        return self.keys.shape[3]

    @property
    def nbytes(self) -> int:
        scales = 0 if self.key_scales is None else 2 * self.key_scales.nbytes
        return self.keys.nbytes + self.values.nbytes + scales

    # --- writing and reading ----------------------------------------------------------------------

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
        newest = slice(max(0, k.shape[2] - self.slots), None)  # the others would leave the window at once
        steps = np.arange(k.shape[2])[newest]
        for new, stored, scales in zip((k, v), self._layers[layer][:2], self._layers[layer][2:], strict=True):
            new = new[:, :, newest]
            if scales is not None:
                new, new_scales = quantize_positions(new)
            for b, start in enumerate(self.lengths):
                slots = (start + steps) % self.slots
                stored[b, :, slots] = new[b].swapaxes(0, 1)
                if scales is not None:
                    scales[b, :, slots] = new_scales[b].T

    def read(self, layer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Copy what one layer holds, oldest position first, as floats.

        Returns
        -------
        k, v : float32 array, (batch_size, num_kv_heads, n, head_dim)
            n is what the longest sequence holds. A shorter one stands at the end, behind zeros.
        positions : array of int64, (batch_size, n)
            Which position each is; below 0 where a sequence has none.
        """
        held = int(np.minimum(self.lengths, self.slots).max())
        positions = self.lengths[:, None] + np.arange(-held, 0)
        rows, slots = np.arange(len(positions))[:, None], positions % self.slots
        keys, values, *scales = self._layers[layer]
        held_by = []
        for stored, scale in zip((keys, values), scales, strict=True):
            x = stored.swapaxes(1, 2)[rows, slots]
            if scale is not None:
                x = x * scale.swapaxes(1, 2)[rows, slots][..., None]
            x[positions < 0] = 0
            held_by.append(np.ascontiguousarray(x.swapaxes(1, 2)))
        return held_by[0], held_by[1], positions

    def advance(self, n: int = 1) -> None:
        """Count n more positions as stored, once every layer has appended them."""
        n = as_int("KVCache.advance", "n", n, 0)
        self._check_room("KVCache.advance", n)
        self.lengths += n

    # --- going back, and sharing what was read ----------------------------------------------------

    def reset(self) -> None:
        """Forget all positions; the memory stays."""
        self.lengths[:] = 0

    def truncate(self, length: int) -> None:
        """Go back to the first `length` positions of each sequence, to continue from there in another way.

        Raises
        ------
        ValueError
            When positions that would be seen again have left the window.
        """
        length = as_int("KVCache.truncate", "length", length, 0)
        shorter = np.minimum(self.lengths, length)
        # The next position sees slots - 1 before it, of which the cache must still hold the oldest.
        lost = (self.lengths > self.slots) & (shorter < self.lengths - 1)
        if lost.any():
            b = int(np.argmax(lost))
            raise ValueError(
                f"KVCache.truncate: sequence {b} has {self.lengths[b]} positions and keeps the last "
                f"{self.slots} (its window), so it cannot go back to {length}. Keep a fork() from there."
            )
        self.lengths[:] = shorter

    def fork(self: Cache, copies: int = 1) -> Cache:
        """Copy the cache, each sequence `copies` times in a row: continuations that share one prompt.

        What was computed for the prompt is copied, not computed again. The copy has memory of its own.

        Examples
        --------
        >>> prompt = KVCache(1, 128, 2, 4, 16)
        >>> prompt.fork(8).lengths.shape
        (8,)
        """
        copies = as_int("KVCache.fork", "copies", copies, 1)
        layers, batch, heads, _, dim = self.keys.shape
        twin = object.__new__(type(self))
        KVCache.__init__(twin, copies * batch, self.max_seq_len, layers, heads, dim, self.dtype, self.window)
        held = slice(0, int(self.lengths.max()))  # slots that were never filled need not be touched
        for name in ARRAYS:
            if (array := getattr(self, name)) is not None:
                getattr(twin, name)[:, :, :, held] = np.repeat(array[:, :, :, held], copies, axis=1)
        twin.lengths[:] = np.repeat(self.lengths, copies)
        return twin

    def row(self: Cache, index: int) -> Cache:
        """One sequence of the batch, as a cache on the same memory: what is done to it is done here."""
        batch = len(self.lengths)
        index = as_int("KVCache.row", "index", index, -(2**31))
        if not 0 <= index < batch:
            raise IndexError(f"KVCache.row: sequence {index} of a cache with sequences 0 ... {batch - 1}")
        one = slice(index, index + 1)
        state = self.__getstate__()
        state.update({name: state[name][:, one] for name in ARRAYS if state[name] is not None})
        state["lengths"] = self.lengths[one]
        view = object.__new__(type(self))
        view.__setstate__(state)
        return view

    # --- checks, copies -----------------------------------------------------------------------------

    def _check_room(self, caller: str, n: int) -> None:
        longest = max(self.lengths.tolist())
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
        return {name: getattr(self, name) for name in KVCache.__slots__ if name != "_layers"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self._layers = self._views()  # of the copied arrays, not copies of the views

    def __repr__(self) -> str:
        layers, batch, heads, _, dim = self.keys.shape
        window = "" if self.window is None else f", window={self.window}"
        return (
            f"KVCache(batch_size={batch}, max_seq_len={self.max_seq_len}, num_layers={layers}, "
            f"num_kv_heads={heads}, head_dim={dim}, dtype={self.dtype!r}{window})"
        )
