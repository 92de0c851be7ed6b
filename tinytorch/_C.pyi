"""The calling convention of the compiled extension, one signature for each function.

Only ``tinytorch.kernels`` calls these. They are ``METH_FASTCALL`` functions: every argument
is positional and given, ``None`` stands for an absent array. They check and never convert.

Arrays      C-contiguous, aligned, native byte order, of exactly the dtype named here.
            Wrong dtype or layout: TypeError. Wrong ndim, shape or value: ValueError. Both name
            the function and the argument, and come before anything is written.
Results     fresh C-contiguous arrays. ``out`` is written and returned; it must not share memory
            with an input (ValueError).
Empties     every dimension may be 0: an empty result, or the value of an empty sum (0, or bias).
NaN, Inf    propagate as in NumPy; relu(NaN) and the maximum of a window holding NaN are NaN.
Numbers     sizes are Python ints, scales and rates Python floats, flags bools or ints.
activation  0 none, 1 relu, 2 gelu (erf). INT8 functions take 0 and 1 only.
approximate 0 none (erf), 1 tanh (0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))),
            2 sigmoid (x * sigmoid(1.702 x)).
packed      a 1-D uint8 array made by a ``pack_*`` function. Its layout is C's own business and
            may depend on the CPU level; ``unpack_*`` gives the weights back. C checks its length.
shapes      N batch, C channels, H and W height and width, O output channels, I = C / groups.
"""

from typing import Any

from numpy import bool_, float32, int8, int32, int64, uint8, uint16, uint64
from numpy.typing import NDArray

Array = NDArray[Any]
F32 = NDArray[float32]
U16 = NDArray[uint16]
Packed = NDArray[uint8]
Bytes = NDArray[int8] | NDArray[uint8]

# --- arrays and runtime ---------------------------------------------------------------------

def as_float32(x: Array, /) -> F32:
    """x itself when it is float32, C-contiguous and aligned, otherwise such a copy.
    bool, integer and float dtypes convert; everything else is a TypeError."""

def empty(shape: int | tuple[int, ...], /) -> F32:
    """An uninitialised float32 array; a large one reuses the memory of earlier results."""

def level() -> str:
    """The CPU level in use."""

def levels() -> list[str]:
    """The CPU levels that were built and that this machine has, best first."""

def set_num_threads(n: int, /) -> None: ...
def get_num_threads() -> int: ...
def run_fma(iterations: int, /) -> float:
    """Multiply-adds in registers; returns the operations done."""

def run_read(x: F32, passes: int, /) -> float:
    """Reads x from end to end, `passes` times; returns a sum that depends on all of it."""

# --- matmul, linear -------------------------------------------------------------------------

def matmul(a: F32, b: F32, transpose_a: bool, transpose_b: bool, out: F32 | None, /) -> F32:
    """(M, K) @ (K, N) -> (M, N), or (B, M, K) @ (B, K, N) -> (B, M, N) where either B may be 1
    and then serves every item. Both 2-D or both 3-D. A transposed operand is stored (K, M) or
    (N, K)."""

def linear(x: F32, w: F32, bias: F32 | None, activation: int, /) -> F32:
    """x (..., K), w (K, N), bias (N,) -> (..., N)."""

def pack_matmul(w: F32, /) -> Packed:
    """w (K, N)."""

def unpack_matmul(packed: Packed, k: int, n: int, /) -> F32: ...
def matmul_packed(a: F32, packed: Packed, k: int, n: int, out: F32 | None, /) -> F32:
    """a (..., K) -> (..., N)."""

def linear_packed(x: F32, packed: Packed, k: int, n: int, bias: F32 | None, activation: int, /) -> F32: ...

# --- convolution and pooling ----------------------------------------------------------------
# s stride, p padding, d dilation, each as height, width. OH = (H + 2p - d(kh - 1) - 1) // s + 1.

def conv2d(
    x: F32,
    w: F32,
    bias: F32 | None,
    sh: int,
    sw: int,
    ph: int,
    pw: int,
    dh: int,
    dw: int,
    groups: int,
    activation: int,
    /,
) -> F32:
    """x (N, C, H, W), w (O, I, kh, kw), bias (O,) -> (N, O, OH, OW)."""

def conv2d_backward(
    dy: F32,
    x: F32,
    w: F32,
    sh: int,
    sw: int,
    ph: int,
    pw: int,
    dh: int,
    dw: int,
    groups: int,
    need_dx: bool,
    need_dw: bool,
    need_db: bool,
    /,
) -> tuple[F32 | None, F32 | None, F32 | None]:
    """dy (N, O, OH, OW) -> dx like x, dw like w, db (O,); None where it is not needed."""

def pack_conv2d(w: F32, groups: int, /) -> Packed:
    """w (O, I, kh, kw)."""

def unpack_conv2d(packed: Packed, o: int, i: int, kh: int, kw: int, groups: int, /) -> F32: ...
def conv2d_packed(
    x: F32,
    packed: Packed,
    o: int,
    i: int,
    kh: int,
    kw: int,
    bias: F32 | None,
    sh: int,
    sw: int,
    ph: int,
    pw: int,
    dh: int,
    dw: int,
    groups: int,
    activation: int,
    /,
) -> F32: ...
def max_pool2d(
    x: F32 | Bytes, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int, out: F32 | None, /
) -> F32 | Bytes:
    """Padding counts as -inf and is at most half the kernel. x (N, C, H, W); integers give integers."""

def max_pool2d_with_places(
    x: F32, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int, out: F32 | None, /
) -> tuple[F32, U16 | None]:
    """(y, places): where each maximum lies, counted in floats of x from its window's first element on; None
    where 16 bits would not do."""

def max_pool2d_backward(
    dy: F32,
    x: F32,
    places: U16 | None,
    kh: int,
    kw: int,
    sh: int,
    sw: int,
    ph: int,
    pw: int,
    out: F32 | None,
    /,
) -> F32:
    """The first maximum of a window in row-major order takes the whole gradient; a NaN counts as a
    maximum, and padding never takes it. With places, of x only the shape is read."""

def avg_pool2d(x: F32, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int, out: F32 | None, /) -> F32:
    """Padding counts as 0 and the divisor is always kh * kw."""

def avg_pool2d_backward(
    dy: F32, h: int, w: int, kh: int, kw: int, sh: int, sw: int, ph: int, pw: int, out: F32 | None, /
) -> F32:
    """dy (N, C, OH, OW) -> dx (N, C, h, w)."""

# --- activation, softmax, normalisation -----------------------------------------------------

def relu(x: F32, out: F32 | None, /) -> F32:
    """max(x, 0) of any shape. Here and up to layer norm, out may be an input itself."""

def relu_backward(dy: F32, x: F32, out: F32 | None, /) -> F32: ...
def sigmoid(x: F32, out: F32 | None, /) -> F32: ...
def sigmoid_backward(dy: F32, y: F32, out: F32 | None, /) -> F32: ...
def tanh(x: F32, out: F32 | None, /) -> F32: ...
def tanh_backward(dy: F32, y: F32, out: F32 | None, /) -> F32: ...
def gelu(x: F32, approximate: int, out: F32 | None, /) -> F32: ...
def gelu_backward(dy: F32, x: F32, approximate: int, out: F32 | None, /) -> F32: ...
def softmax(x: F32, out: F32 | None, /) -> F32:
    """Along the last axis, as all of these are."""

def softmax_backward(dy: F32, y: F32, out: F32 | None, /) -> F32: ...
def log_softmax(x: F32, out: F32 | None, /) -> F32: ...
def log_softmax_backward(dy: F32, y: F32, out: F32 | None, /) -> F32: ...
def layer_norm(x: F32, weight: F32 | None, bias: F32 | None, eps: float, out: F32 | None, /) -> F32:
    """x (..., D), weight (D,), bias (D,). Biased variance, two passes (mean, then centred squares)."""

def layer_norm_backward(
    dy: F32, x: F32, weight: F32 | None, eps: float, out: F32 | None, /
) -> tuple[F32, F32 | None, F32]:
    """-> dx like x, dweight (D,) or None when weight is None, dbias (D,) always."""

def rms_norm(x: F32, weight: F32 | None, eps: float, out: F32 | None, /) -> F32:
    """x / sqrt(mean(x^2) + eps) * weight."""

def rms_norm_backward(
    dy: F32, x: F32, weight: F32 | None, eps: float, out: F32 | None, /
) -> tuple[F32, F32 | None]: ...
def batch_norm2d(
    x: F32,
    weight: F32,
    bias: F32,
    running_mean: F32,
    running_var: F32,
    training: bool,
    momentum: float,
    eps: float,
    out: F32 | None,
    /,
) -> F32:
    """x (N, C, H, W), the others (C,). Training normalises by the batch's mean and biased variance
    and updates the running pair in place: r += momentum * (batch - r), the variance unbiased.
    Training on fewer than two values for each channel is a ValueError."""

def batch_norm2d_backward(
    dy: F32,
    x: F32,
    weight: F32,
    running_mean: F32,
    running_var: F32,
    training: bool,
    eps: float,
    out: F32 | None,
    /,
) -> tuple[F32, F32, F32]:
    """-> dx, dweight (C,), dbias (C,). Training recomputes the batch's statistics from x."""

# --- loss -----------------------------------------------------------------------------------

def cross_entropy(
    logits: F32, targets: NDArray[int64], ignore_index: int, label_smoothing: float, /
) -> float:
    """logits (N, C), targets (N,). Mean over the rows whose target is not ignore_index (NaN when
    there is none) of (1 - e) * -logp[target] + e / C * sum(-logp). A target outside [0, C) that
    is not ignore_index is a ValueError."""

def cross_entropy_backward(
    dy: float,
    logits: F32,
    targets: NDArray[int64],
    ignore_index: int,
    label_smoothing: float,
    out: F32 | None,
    /,
) -> F32: ...

# --- optimizers: one call updates every parameter, in place -----------------------------------
# The lists are equally long; params[i], grads[i] and each state array have the same shape.

def sgd_step(
    params: list[F32],
    grads: list[F32],
    momentum_buffers: list[F32] | None,
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool,
    /,
) -> None:
    """g += wd * p; with momentum: b = momentum * b + g, g = g + momentum * b (nesterov) or b;
    p -= lr * g. None for the buffers when momentum is 0."""

def adam_step(
    params: list[F32],
    grads: list[F32],
    m: list[F32],
    v: list[F32],
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    decoupled: bool,
    /,
) -> None:
    """step counts from 1. decoupled (AdamW): p *= 1 - lr * wd; else g += wd * p.
    m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
    p -= lr / (1 - b1^step) * m / (sqrt(v) / sqrt(1 - b2^step) + eps).
    The corrections are computed in double."""

# --- quantization ---------------------------------------------------------------------------
# Everything below that yields integers yields the same integers on every CPU level.
# A scale must be finite and above 0 in float32, a zero point within its dtype: ValueError.

def quantize(x: F32, scale: F32, zero_point: NDArray[int32], axis: int, signed: bool, /) -> Bytes:
    """rint(x / scale) + zero_point, clamped to int8 (signed) or uint8; a true float32 division,
    half to even. axis -1: scale and zero_point (1,); axis >= 0: (x.shape[axis],). Inf clamps,
    NaN is a ValueError."""

def dequantize(q: Bytes, scale: F32, zero_point: NDArray[int32], axis: int, /) -> F32:
    """float32(q - zero_point) * scale."""

def matmul_int8(a: Bytes, b: NDArray[int8], /) -> NDArray[int32]:
    """a (M, K) uint8 or int8, b (K, N) int8. K above 65536 could overflow: ValueError."""

# out_kind: 0 float32, 1 uint8, 2 int8 (out_scale and out_zero_point are read for 1 and 2).
# With acc = sum of (x_q - x_zero_point) * w_q in int32 and s[n] = float32(x_scale) * w_scale[n]:
#   float32:   y = float32(acc) * s[n] + bias[n], relu: max(y, 0); multiply, then add: no FMA
#   quantized: b[n] = clamp(rint(bias[n] / s[n]), -2^30, 2^30)
#              q = rint(float32(acc + b[n]) * (s[n] / float32(out_scale))) + out_zero_point,
#              clamped to the dtype's range, from out_zero_point up when activation is relu.
# Each operation is one float32 operation; / is a true division; rint is half to even. A NaN in
# bias is a ValueError when the output is quantized. K (for a convolution I * kh * kw) is at most
# 32768, checked when packing, so that acc + b cannot overflow.

def pack_linear_int8(w: NDArray[int8], /) -> Packed:
    """w (K, N)."""

def unpack_linear_int8(packed: Packed, k: int, n: int, /) -> NDArray[int8]: ...
def linear_int8(
    x_q: Bytes,
    x_scale: float,
    x_zero_point: int,
    packed: Packed,
    k: int,
    n: int,
    w_scale: F32,
    bias: F32 | None,
    activation: int,
    out_kind: int,
    out_scale: float,
    out_zero_point: int,
    /,
) -> Array:
    """x_q (..., K) uint8 or int8, w_scale (N,), bias (N,) -> (..., N)."""

def linear_int8_dynamic(
    x: F32, packed: Packed, k: int, n: int, w_scale: F32, bias: F32 | None, activation: int, /
) -> F32:
    """x (..., K) -> (..., N): q = rint(x / s), s = max|x| / 127 of each row;
    y = float32(acc) * w_scale * s + bias.
    A row that is not finite gives NaN."""

def add_int8(
    a: Bytes,
    a_scale: float,
    a_zero_point: int,
    b: Bytes,
    b_scale: float,
    b_zero_point: int,
    activation: int,
    out_kind: int,
    out_scale: float,
    out_zero_point: int,
    /,
) -> Bytes:
    """rint((a - a_zero_point) * (a_scale / out_scale) + (b - ...) * ...) + out_zero_point, clamped."""

def pack_conv2d_int8(w: NDArray[int8], groups: int, /) -> Packed:
    """w (O, I, kh, kw)."""

def unpack_conv2d_int8(packed: Packed, o: int, i: int, kh: int, kw: int, groups: int, /) -> NDArray[int8]: ...
def conv2d_int8(
    x_q: Bytes,
    x_scale: float,
    x_zero_point: int,
    packed: Packed,
    o: int,
    i: int,
    kh: int,
    kw: int,
    w_scale: F32,
    bias: F32 | None,
    sh: int,
    sw: int,
    ph: int,
    pw: int,
    dh: int,
    dw: int,
    groups: int,
    activation: int,
    out_kind: int,
    out_scale: float,
    out_zero_point: int,
    x_layout: int,
    out_layout: int,
    pool_h: int,
    pool_w: int,
    /,
) -> Array:
    """x_q (N, C, H, W) uint8 or int8, w_scale (O,), bias (O,) -> (N, O, OH // pool_h, OW // pool_w), the
    largest of each pooling window. A layout of 1 puts the channels last. Padding holds x_zero_point, the
    real 0."""

def pack_int4(w: F32, group_size: int, /) -> Packed:
    """w (K, N), groups of group_size (a multiple of 32) consecutive k of one column; the last may be
    shorter. scale = float16(max|w| / 7), q = clamp(rint(w / float32(scale)), -8, 7); a scale of 0
    gives q = 0. NaN, Inf and a scale beyond float16 are a ValueError."""

def unpack_int4(packed: Packed, k: int, n: int, group_size: int, /) -> F32:
    """The dequantized weights q * scale, (K, N)."""

def linear_int4(
    x: F32, packed: Packed, k: int, n: int, group_size: int, bias: F32 | None, quantize_x: bool, /
) -> F32:
    """x (..., K) -> (..., N). With quantize_x, finite rows of x are quantized on the way, to int8 with
    a scale of max|x| / 127 for each row and group; the result then lies within
    sum over k of (max|x| of its group / 254) * |w[k, n]| of what it is without."""

# --- sparse ---------------------------------------------------------------------------------
# W (M, K) in compressed rows of blocks, r rows by 1 column, r in 1, 2, 4, 8, 16. Block row i holds
# rows i*r ... i*r+r-1 (rows beyond M hold zeros); its blocks are row_pointers[i] ... [i+1]-1, with
# ascending columns in indices (nblocks,), uint16 when K <= 65536, else int32; values (nblocks, r);
# row_pointers int32 (ceil(M / r) + 1,). SparseMatrix validates the indices once and keeps the
# arrays read-only, so C checks lengths and row_pointers, and trusts the indices.
#
# The products take single weights (r = 1) as slice_sparse makes them, with M and K.

Indices = NDArray[uint16] | NDArray[int32]
Slices = NDArray[uint64]
Sparse = tuple[F32, Indices, NDArray[int32], int, int, int] | tuple[Slices, int, int]

def slice_sparse(
    values: F32, indices: Indices, row_pointers: NDArray[int32], m: int, k: int, r: int, /
) -> Slices:
    """Single weights in the order in which the products read them."""

def unslice_sparse(slices: Slices, m: int, k: int, /) -> tuple[F32, NDArray[int32], NDArray[int32]]:
    """values (nblocks, 1), indices, row_pointers."""

def sparse_matmul(w: Sparse, x: F32, out: F32 | None, /) -> F32:
    """x (K, N) -> W @ x, (M, N)."""

def sparse_linear(w: Sparse, x: F32, bias: F32 | None, activation: int, out: F32 | None, /) -> F32:
    """x (..., K), bias (M,) -> x @ W.T, (..., M)."""

def sparse_conv2d(
    w: Sparse,
    x: F32,
    kh: int,
    kw: int,
    bias: F32 | None,
    sh: int,
    sw: int,
    ph: int,
    pw: int,
    dh: int,
    dw: int,
    groups: int,
    activation: int,
    /,
) -> F32:
    """W (M, C * kh * kw), x (N, C, H, W), bias (M,) -> (N, M, OH, OW). One group."""

# --- attention ------------------------------------------------------------------------------
# q (B, H, T, D), k (B, G, S, D), v (B, G, S, E), G divides H: query head h reads head h // (H / G).
# mask: None, or bool (True keeps) or float32 (added to the scores), (B|1, H|1, T|1, S).
# causal: position t sees s <= t; it holds together with mask. A row that sees nothing yields 0,
# lse = -inf and no gradient.

Mask = NDArray[bool_] | F32

def attention(
    q: F32, k: F32, v: F32, causal: bool, mask: Mask | None, scale: float, want_lse: bool, /
) -> F32 | tuple[F32, F32]:
    """-> y (B, H, T, E), and with want_lse the log-sum-exp of each row's scaled scores, (B, H, T)."""

def attention_backward(
    dy: F32,
    q: F32,
    k: F32,
    v: F32,
    causal: bool,
    mask: Mask | None,
    scale: float,
    y: F32,
    lse: F32,
    /,
) -> tuple[F32, F32, F32]:
    """-> dq, dk, dv."""

def attention_decode(
    q: F32,
    k: F32,
    v: F32,
    keys: Array,
    values: Array,
    key_scales: F32 | None,
    value_scales: F32 | None,
    lengths: NDArray[int64],
    scale: float,
    /,
) -> F32:
    """q (B, H, 1, D), k and v (B, G, 1, D); one layer's keys and values (B, G, T, D) float32, or int8
    with the scales (B, G, T). Writes k, v as position lengths[b] of sequence b, in slot lengths[b] % T,
    attends over the last T positions up to it, and leaves lengths alone. A length below 0 is a
    ValueError before anything is written. int8: scale = max|k| / 127 for each position and head,
    q = rint(k / scale), 0 for a scale of 0. -> (B, H, 1, D)."""

def decode_blocks(
    x: F32,
    blocks: tuple[tuple[Any, ...], ...],
    layers: tuple[tuple[Array, Array, F32 | None, F32 | None], ...],
    lengths: NDArray[int64],
    heads: int,
    /,
) -> F32:
    """x (B, 1, E) through all blocks, each a kernels.DecoderBlock; layers as attention_decode takes them,
    one for each block. Lengths as there. -> (B, 1, E)."""

# --- lessons --------------------------------------------------------------------------------

def lesson_ladders() -> dict[str, tuple[tuple[str, str, str, str, int], ...]]:
    """For each ladder its steps in order: name, description, compiler flags, file below csrc/lessons/,
    and for sparse_matmul how many rows its blocks have, 0 for a matrix that is not compressed."""

def lesson_matmul(step: int, a: F32, b: F32, out: F32 | None, /) -> F32:
    """a (M, K) @ b (K, N) -> (M, N) by one step of the ladder."""

def lesson_matmul_int8(
    step: int, a: NDArray[uint8], b: NDArray[int8], out: NDArray[int32] | None, /
) -> NDArray[int32]:
    """a (M, K) @ b (K, N) -> (M, N); K at most 65536."""

def lesson_sparse_matmul(step: int, *arguments: Any) -> F32:
    """w (M, K), x (K, N), out -> (M, N) for a step without compression; the others take w as values,
    indices, row_pointers, M, K, r, with blocks of as many rows r as the step says."""

def lesson_conv2d(
    step: int,
    x: F32,
    w: F32,
    stride_h: int,
    stride_w: int,
    padding_h: int,
    padding_w: int,
    out: F32 | None,
    /,
) -> F32:
    """x (N, C, H, W), w (O, C, kh, kw) -> (N, O, OH, OW)."""

def lesson_attention(step: int, q: F32, k: F32, v: F32, causal: bool, out: F32 | None, /) -> F32:
    """q (H, T, D), k and v (H, S, D) -> (H, T, D), scaled by 1 / sqrt(D)."""
