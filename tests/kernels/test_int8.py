"""INT8 kernels against the reference: the same integers, on every CPU level."""

import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tinytorch import kernels
from tinytorch.kernels import reference

from .common import assert_close, randn

pytestmark = pytest.mark.kernel

size = st.integers(0, 70)


def integers(dtype, *shape, seed=0):
    """The dtype's whole range, its ends included."""
    info = np.iinfo(dtype)
    return np.random.default_rng([seed, *shape]).integers(info.min, info.max + 1, shape).astype(dtype)


@given(m=size, k=size, n=size, dtype=st.sampled_from([np.uint8, np.int8]))
def test_matmul_int8_is_exact(m, k, n, dtype):
    a, b = integers(dtype, m, k), integers(np.int8, k, n, seed=1)
    y = kernels.matmul_int8(a, b)
    np.testing.assert_array_equal(y, a.astype(np.int64) @ b.astype(np.int64))
    assert y.dtype == np.int32 and y.shape == (m, n)


@pytest.mark.parametrize("low, high", [(0, -128), (255, -128), (255, 127)])
def test_matmul_int8_is_exact_at_its_limits(low, high):
    a, b = np.full((3, 65536), low, np.uint8), np.full((65536, 20), high, np.int8)
    assert (kernels.matmul_int8(a, b) == low * high * 65536).all()
    a = np.full((3, 65536), -128, np.int8)
    assert (kernels.matmul_int8(a, b) == -128 * high * 65536).all()


def test_matmul_int8_takes_views():
    a, b = integers(np.uint8, 9, 7), integers(np.int8, 5, 9)
    np.testing.assert_array_equal(kernels.matmul_int8(a.T, b.T), reference.matmul_int8(a.T, b.T))


output = st.sampled_from(
    [
        {},
        dict(out_scale=0.7, out_zero_point=9),
        dict(out_scale=0.4, out_zero_point=-5, out_dtype="int8"),
        dict(out_scale=1e-6),
        dict(out_scale=1e6, out_dtype="int8"),
    ]
)


@given(
    rows=st.sampled_from([(), (1,), (7,), (2, 3), (0,), (66,)]),
    k=size,
    n=st.integers(1, 70),
    dtype=st.sampled_from([np.uint8, np.int8]),
    activation=st.sampled_from([None, "relu"]),
    biased=st.booleans(),
    out=output,
)
def test_linear_int8_is_the_reference(rows, k, n, dtype, activation, biased, out):
    x, w = integers(dtype, *rows, k), integers(np.int8, k, n, seed=1)
    scale = np.abs(randn(n)) * np.float32(0.02) + np.float32(0.001)
    bias = 10 * randn(n) if biased else None
    packed = kernels.pack_int8(w, scale)
    y = kernels.linear_int8(x, 0.03, 11, packed, bias, activation=activation, **out)
    names = (out.get("out_scale"), out.get("out_zero_point", 0), out.get("out_dtype", "uint8"))
    expected = reference.linear_int8(x, 0.03, 11, w, scale, bias, activation, *names)
    np.testing.assert_array_equal(y, expected)
    assert y.dtype == expected.dtype and y.shape == expected.shape


pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    kernel, stride, dilation = draw(pair), draw(pair), draw(pair)
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    spatial = [
        max(d * (k - 1) + 1 - 2 * p, 1) + draw(st.integers(0, 9))
        for k, d, p in zip(kernel, dilation, padding, strict=True)
    ]
    channels, outputs = groups * draw(st.integers(1, 5)), groups * draw(st.integers(1, 9))
    if draw(st.integers(0, 3)) == 0:  # depthwise
        groups = channels = outputs = draw(st.integers(1, 70))
    x = integers(draw(st.sampled_from([np.uint8, np.int8])), draw(st.integers(0, 2)), channels, *spatial)
    w = integers(np.int8, outputs, channels // groups, *kernel, seed=1)
    return x, w, dict(stride=stride, padding=padding, dilation=dilation, groups=groups)


@given(case=convolutions(), activation=st.sampled_from([None, "relu"]), biased=st.booleans(), out=output)
def test_conv2d_int8_is_the_reference(case, activation, biased, out):
    x, w, options = case
    scale = np.abs(randn(len(w))) * np.float32(0.02) + np.float32(0.001)
    bias = 10 * randn(len(w)) if biased else None
    packed = kernels.pack_int8(w, scale, groups=options["groups"])
    np.testing.assert_array_equal(packed.unpack(), w)
    y = kernels.conv2d_int8(x, 0.03, 11, packed, bias, **options, activation=activation, **out)
    names = (out.get("out_scale"), out.get("out_zero_point", 0), out.get("out_dtype", "uint8"))
    expected = reference.conv2d_int8(x, 0.03, 11, w, scale, bias, *options.values(), activation, *names)
    np.testing.assert_array_equal(y, expected)
    assert y.dtype == expected.dtype and y.shape == expected.shape


@given(
    case=convolutions(),
    pool=st.sampled_from([1, 2, (1, 3), (4, 4), (2, 1)]),
    layouts=st.tuples(*[st.sampled_from(["NCHW", "NHWC"])] * 2),
    out=output,
    activation=st.sampled_from([None, "relu", "gelu"]),
)
def test_conv2d_int8_pools_and_keeps_channels_where_it_is_told(case, pool, layouts, out, activation):
    x, w, options = case
    packed = kernels.pack_int8(w, 0.01, groups=options["groups"])
    bias = 10 * randn(len(w))
    options |= dict(activation=activation, **out)
    plain = kernels.conv2d_int8(x, 0.03, 11, packed, bias, **options)
    assume(
        all(s >= p for s, p in zip(plain.shape[2:], (pool, pool) if pool in (1, 2) else pool, strict=True))
    )
    expected = kernels.max_pool2d(plain, pool)
    if layouts[0] == "NHWC":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    names = dict(zip(("x_layout", "out_layout"), layouts, strict=True))
    y = kernels.conv2d_int8(x, 0.03, 11, packed, bias, **options, max_pool=pool, **names)
    if layouts[1] == "NHWC":
        y = y.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(y, expected)
    assert y.dtype == expected.dtype


@pytest.mark.parametrize("channels", [1, 3, 4, 32])
@pytest.mark.parametrize("kernel, padding", [(1, 0), (3, 1), (3, 0)])
def test_conv2d_int8_reads_and_writes_nhwc_in_place(channels, kernel, padding):
    x, w = integers(np.uint8, 3, 9, 14, channels), integers(np.int8, 40, channels, kernel, kernel)
    out = dict(out_scale=9.0, out_zero_point=128)
    y = kernels.conv2d_int8(
        x, 0.1, 100, kernels.pack_int8(w, 0.01), padding=padding, x_layout="NHWC", out_layout="NHWC", **out
    )
    planes, scale = x.transpose(0, 3, 1, 2), np.full(40, 0.01, np.float32)
    expected = reference.conv2d_int8(planes, 0.1, 100, w, scale, padding=(padding, padding), **out)
    np.testing.assert_array_equal(y, expected.transpose(0, 2, 3, 1))


def test_conv2d_int8_pools_through_a_replaced_primitive():
    x, w = integers(np.uint8, 2, 6, 7, 3), integers(np.int8, 5, 3, 3, 3)
    options = dict(padding=1, max_pool=2, x_layout="NHWC", out_layout="NHWC")
    y = kernels.conv2d_int8(x, 0.1, 100, kernels.pack_int8(w, 0.01), **options)
    with kernels.use(matmul_int8=reference.matmul_int8):
        np.testing.assert_array_equal(
            kernels.conv2d_int8(x, 0.1, 100, kernels.pack_int8(w, 0.01), **options), y
        )


def test_conv2d_int8_over_many_channels():
    x, w = integers(np.uint8, 2, 40, 9, 11), integers(np.int8, 33, 40, 3, 3)
    scale = np.full(33, 0.01, np.float32)
    y = kernels.conv2d_int8(
        x, 0.1, 100, kernels.pack_int8(w, 0.01), padding=1, out_scale=9.0, out_zero_point=128
    )
    expected = reference.conv2d_int8(x, 0.1, 100, w, scale, padding=(1, 1), out_scale=9.0, out_zero_point=128)
    np.testing.assert_array_equal(y, expected)
    assert len(np.unique(y)) > 1


def test_a_huge_bias_saturates():
    x, w, bias = np.ones((1, 3), np.uint8), np.ones((3, 2), np.int8), np.array([1e30, -1e30], np.float32)
    packed = kernels.pack_int8(w, 1.0)
    y = kernels.linear_int8(x, 1.0, 0, packed, bias, out_scale=1e6, out_zero_point=9)
    np.testing.assert_array_equal(y, [[255, 0]])


def test_gelu_is_applied_to_the_real_result():
    x, w = integers(np.uint8, 4, 9), integers(np.int8, 9, 5)
    packed = kernels.pack_int8(w, 0.01)
    real = kernels.gelu(kernels.linear_int8(x, 0.01, 3, packed))
    assert_close(kernels.linear_int8(x, 0.01, 3, packed, activation="gelu"), real)
    q = kernels.linear_int8(x, 0.01, 3, packed, activation="gelu", out_scale=0.02, out_zero_point=20)
    np.testing.assert_array_equal(q, kernels.quantize(real, 0.02, 20, dtype="uint8"))
    image, filters = integers(np.uint8, 1, 2, 4, 4), integers(np.int8, 3, 2, 2, 2)
    packed = kernels.pack_int8(filters, 0.01)
    real = kernels.gelu(kernels.conv2d_int8(image, 0.01, 3, packed, stride=2))
    assert_close(kernels.conv2d_int8(image, 0.01, 3, packed, stride=2, activation="gelu"), real)


class TestPackedInt8:
    @pytest.mark.parametrize("shape", [(1, 1), (3, 70), (70, 3), (0, 4), (33, 65)])
    def test_unpacks_to_what_was_packed(self, shape):
        w = integers(np.int8, *shape)
        packed = kernels.pack_int8(w, 0.5)
        np.testing.assert_array_equal(packed.unpack(), w)
        assert packed.shape == shape and packed.scale.tolist() == [0.5] * shape[1]
        assert str(shape) in repr(packed)

    def test_is_a_quarter_of_the_floats(self):
        w = integers(np.int8, 1024, 512)
        assert w.nbytes <= kernels.pack_int8(w, 0.5).nbytes <= 1.05 * w.nbytes

    def test_can_be_pickled(self):
        w = integers(np.int8, 4, 2, 3, 3)
        packed = pickle.loads(pickle.dumps(kernels.pack_int8(w, [1.0, 2.0, 3.0, 4.0], groups=2)))
        np.testing.assert_array_equal(packed.unpack(), w)
        assert packed.scale.tolist() == [1, 2, 3, 4] and packed.groups == 2

    def test_keeps_its_own_scales(self):
        scale = np.ones(2, np.float32)
        packed = kernels.pack_int8(np.ones((3, 2), np.int8), scale)
        scale[:] = 5
        assert packed.scale.tolist() == [1, 1]


X, W = integers(np.uint8, 2, 3), integers(np.int8, 3, 4)
P = kernels.pack_int8(W, 0.5)
IMAGE = integers(np.uint8, 1, 4, 5, 5)
FILTERS = kernels.pack_int8(integers(np.int8, 6, 2, 3, 3), 0.5, groups=2)
MISTAKES = [
    (lambda: kernels.matmul_int8(X.astype(np.int32), W), TypeError, "a must be uint8 or int8, and is int32"),
    (lambda: kernels.matmul_int8(X, W.astype(np.uint8)), TypeError, "b must be int8, and is uint8"),
    (lambda: kernels.matmul_int8(X, W.T), ValueError, "3 is not 4"),
    (lambda: kernels.matmul_int8(X[0], W), ValueError, r"a must have 2 axes \(M, K\)"),
    (
        lambda: kernels.matmul_int8(np.zeros((1, 65537), np.uint8), np.zeros((65537, 1), np.int8)),
        ValueError,
        "sums of 65537 products could overflow int32",
    ),
    (lambda: kernels.pack_int8(W.astype(np.float32), 0.5), TypeError, "w must be int8, and is float32"),
    (lambda: kernels.pack_int8(W[0], 0.5), ValueError, "w must have 2 axes"),
    (lambda: kernels.pack_int8(W, 0.0), ValueError, "scale must be finite and above 0"),
    (lambda: kernels.pack_int8(W, [0.5] * 3), ValueError, r"scale must have shape \(4,\)"),
    (lambda: kernels.pack_int8(W, 0.5, groups=2), ValueError, "groups must be at most 1"),
    (lambda: kernels.pack_int8(np.zeros((32769, 1), np.int8), 0.5), ValueError, "at most 32768 are exact"),
    (lambda: kernels.linear_int8(X, 0.1, 0, W), TypeError, r"packed must come from pack_int8\(w, scale\)"),
    (lambda: kernels.linear_int8(X, 0.1, 0, kernels.pack(W)), TypeError, "got PackedMatrix"),
    (lambda: kernels.linear_int8(X, 0.1, 0, FILTERS), ValueError, r"pack a matrix \(K, N\)"),
    (lambda: kernels.linear_int8(X[:, :2], 0.1, 0, P), ValueError, "2 is not 3"),
    (lambda: kernels.linear_int8(X / 2, 0.1, 0, P), TypeError, "kernels.quantize makes it"),
    (lambda: kernels.linear_int8(X, 0.0, 0, P), ValueError, "x_scale must be finite and above 0"),
    (lambda: kernels.linear_int8(X, [0.1, 0.2], 0, P), ValueError, "x_scale must be one number"),
    (lambda: kernels.linear_int8(X, 0.1, -1, P), ValueError, "x_zero_point must be a value of uint8"),
    (lambda: kernels.linear_int8(X, 0.1, 0.5, P), TypeError, "x_zero_point must be an integer"),
    (lambda: kernels.linear_int8(X, 0.1, 0, P, [1.0] * 3), ValueError, r"bias must have shape \(4,\)"),
    (
        lambda: kernels.linear_int8(X, 0.1, 0, P, [1, np.nan, 1, 1], out_scale=1.0),
        ValueError,
        "bias holds NaN at index 1",
    ),
    (lambda: kernels.linear_int8(X, 0.1, 0, P, activation="tanh"), ValueError, "activation must be one of"),
    (
        lambda: kernels.linear_int8(X, 0.1, 0, P, out_scale=-1.0),
        ValueError,
        "out_scale must be finite and above 0",
    ),
    (
        lambda: kernels.linear_int8(X, 0.1, 0, P, out_zero_point=3),
        ValueError,
        "out_zero_point without out_scale",
    ),
    (
        lambda: kernels.linear_int8(X, 0.1, 0, P, out_scale=1.0, out_zero_point=128, out_dtype="int8"),
        ValueError,
        "out_zero_point must be a value of int8",
    ),
    (
        lambda: kernels.linear_int8(X, 0.1, 0, P, out_scale=1.0, out_dtype="int32"),
        ValueError,
        "out_dtype must be one of",
    ),
    (lambda: kernels.conv2d_int8(IMAGE, 0.1, 0, P), ValueError, "pack convolution weights"),
    (
        lambda: kernels.conv2d_int8(IMAGE, 0.1, 0, FILTERS),
        ValueError,
        r"packed for 2 group\(s\), and groups=1",
    ),
    (
        lambda: kernels.conv2d_int8(IMAGE[:, :3], 0.1, 0, FILTERS, groups=2),
        ValueError,
        "x has 3 channels, and packed reads",
    ),
    (lambda: kernels.conv2d_int8(IMAGE[0], 0.1, 0, FILTERS, groups=2), ValueError, "x_q must have 4 axes"),
    (
        lambda: kernels.conv2d_int8(IMAGE, 0.1, 0, FILTERS, groups=2, stride=-1),
        ValueError,
        "stride must be at",
    ),
    (lambda: kernels.conv2d_int8(IMAGE, 0.1, 0, FILTERS, groups=2, dilation=3), ValueError, "does not fit"),
    (
        lambda: kernels.conv2d_int8(IMAGE, 0.1, 0, FILTERS, groups=2, max_pool=5),
        ValueError,
        "25 elements to a window, at most 16",
    ),
    (
        lambda: kernels.conv2d_int8(IMAGE, 0.1, 0, FILTERS, groups=2, max_pool=4),
        ValueError,
        "windows of 4 x 4 do not fit into a result of 3 x 3",
    ),
    (
        lambda: kernels.conv2d_int8(IMAGE, 0.1, 0, FILTERS, groups=2, out_layout="HWC"),
        ValueError,
        "out_layout must be one of 'NCHW', 'NHWC'",
    ),
]


@pytest.mark.parametrize("call, error, message", MISTAKES)
def test_mistakes_are_explained(call, error, message):
    with pytest.raises(error, match=message):
        call()
