"""Each operation that a cell may implement: a right cell replaces the kernel, and mistakes are told apart."""

import shutil
import sys

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.course import ckernel
from tinytorch.course.ckernel import compiler as compilers
from tinytorch.kernels import KVCache, SparseMatrix

from .cells import RIGHT, spoiled

if sys.platform == "win32" or not any(map(shutil.which, compilers.CANDIDATES)):
    pytest.skip("needs a C compiler", allow_module_level=True)


@pytest.fixture(scope="module")
def right():
    """The right cell of each operation, compiled and checked."""
    made = {name: ckernel.compile(source, name, flags="-Werror") for name, source in RIGHT.items()}
    for name, kernel in made.items():
        assert kernel.check().passed, f"{name}: {kernel.report}"
    return made


def randn(*shape):
    return np.random.default_rng([9, *shape]).standard_normal(shape, np.float32)


@pytest.mark.parametrize("name", ckernel.OPERATIONS)
def test_every_mistake_has_an_output_of_its_own(name):
    """Each mistake can be computed on every case, differs from the right output, and from other mistakes."""
    operation = ckernel.OPERATIONS[name]
    cases = [case for case in operation.cases() if not case.special]
    outputs = {"": [np.asarray(operation.expected(*case.operands)) for case in cases]}
    for mistake in operation.mistakes:
        outputs[mistake.says] = [
            mistake.output(*case.operands, expected=right, fill=operation.fill(np.empty(0, np.float32)))
            for case, right in zip(cases, outputs[""], strict=True)
        ]
    for says, made in outputs.items():
        for other, others in outputs.items():
            pairs = zip(made, others, strict=True)
            assert says == other or any(
                a.shape == b.shape and not np.allclose(a, b, equal_nan=True) for a, b in pairs
            ), (says, other)


MISTAKES = {
    "matmul_int8": [
        ("int32_t sum", "int16_t sum", "the sum overflows 16 bits"),
        ("a[i * k + p]", "(int8_t)a[i * k + p]", "a is read as signed bytes"),
        ("b[p * n + j]", "(uint8_t)b[p * n + j]", "b is read as unsigned bytes"),
    ],
    "conv2d": [
        ("* kh + r) * kw + s]", "* kh + kh - 1 - r) * kw + kw - 1 - s]",
         "the kernel is turned round"),
        ("r - padding, column = j * stride + s - padding", "r, column = j * stride + s",
         "padding is not subtracted"),
        ("sum += x", "sum = x", ""),
        ("row >= 0 && row < h && ", "row >= 0 && ", "reads x"),
        ("ch < c; ch++", "ch < c && ch < 1; ch++", "only the first of the c channels"),
    ],
    "sparse_matmul": [
        ("e < row_pointers[i + 1]", "e < row_pointers[i + 1] - 1", "the last element of each row is missing"),
        ("e = row_pointers[i]", "e = row_pointers[i] + 1", "the first element of each row is missing"),
        ("y[i * n + j] = 0.0f", "if (row_pointers[i] < row_pointers[i + 1]) y[i * n + j] = 0.0f",
         "rows of w without elements are not written"),
    ],
    "attention_decode": [
        ("score / sqrtf(d)", "score", "not divided by sqrt(d)"),
        ("sum / total", "sum", "divide by the sum of the exponentials"),
        ("weights[t] - largest", "weights[t]", "subtract the largest score first"),
        ("sum += weights[t] * values", "if (t < length - 1) sum += weights[t] * values", ""),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "before", "after", "sentence"),
    [(name, *mistake) for name, mistakes in MISTAKES.items() for mistake in mistakes],
)
def test_mistakes_are_told_apart(name, before, after, sentence):
    report = ckernel.compile(spoiled(before, after, RIGHT[name]), name).check()
    assert not report.passed
    assert sentence in str(report), str(report)


def test_the_whole_capacity_is_not_read():
    cell = RIGHT["attention_decode"].replace("int length, int capacity", "int filled, int capacity")
    cell = cell.replace("float *weights", "int length = capacity; (void)filled;\n    float *weights")
    assert "all `capacity` positions are read" in str(ckernel.compile(cell, "attention_decode").check())


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_matmul_int8_replaces_the_kernel(right, dtype):
    random = np.random.default_rng(0)
    a = random.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, (5, 37)).astype(dtype)
    b = random.integers(-128, 128, (37, 9)).astype(np.int8)
    expected = kernels.matmul_int8(a, b)
    with kernels.use(matmul_int8=right["matmul_int8"]):
        np.testing.assert_array_equal(kernels.matmul_int8(a, b), expected)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"padding": 2, "stride": 2, "activation": "relu"}, {"padding": (0, 2)}, {"stride": (2, 1)},
        {"dilation": (2, 1)}, {"groups": 2, "padding": 1},
    ],
    ids=str,
)  # fmt: skip
def test_conv2d_replaces_the_kernel(right, options):
    x, w, bias = randn(2, 4, 9, 8), randn(6, 4 // options.get("groups", 1), 3, 2), randn(6)
    expected = kernels.conv2d(x, w, bias, **options)
    with kernels.use(conv2d=right["conv2d"]):
        np.testing.assert_allclose(kernels.conv2d(x, w, bias, **options), expected, atol=1e-5)


@pytest.mark.parametrize("block", [(1, 1), (4, 1)])
def test_sparse_matmul_replaces_the_kernel(right, block):
    dense, x = np.where(randn(9, 13) > 0.5, randn(9, 13), 0), randn(13, 5)
    w = SparseMatrix.from_dense(dense, block)
    with kernels.use(sparse_matmul=right["sparse_matmul"]):
        np.testing.assert_allclose(kernels.sparse_matmul(w, x), dense @ x, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("heads", [2, 6])
def test_attention_decode_replaces_the_kernel(right, heads, dtype):
    def decode():
        cache = KVCache(2, 8, 1, 2, 5, dtype)
        random = np.random.default_rng(0)
        steps = []
        for _ in range(4):
            q, k, v = (random.standard_normal((2, n, 1, 5), np.float32) for n in (heads, 2, 2))
            steps.append(kernels.attention_decode(q, k, v, cache, 0))
            cache.advance()
        return np.stack(steps)

    expected = decode()
    with kernels.use(attention_decode=right["attention_decode"]):
        np.testing.assert_allclose(decode(), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["conv2d", "sparse_matmul", "attention_decode", "matmul_int8"])
def test_it_can_be_raced(right, name):
    sizes = {
        "conv2d": {"n": 1, "c": 2, "h": 8, "w": 8, "o": 4},
        "sparse_matmul": {"m": 16, "k": 16, "n": 8},
        "attention_decode": {"heads": 2, "length": 8, "d": 8},
        "matmul_int8": {"m": 8, "k": 8, "n": 8},
    }
    result = right[name].race(seconds=0.02, **sizes[name])
    assert list(result.races.seconds) == ["yours", "plain loop", "TinyTorch"]


@pytest.mark.parametrize("name", ["matmul", "conv2d"])
def test_a_network_trains_on_it(right, name):
    from tests.test_kernel_swap import cnn, train

    expected, _ = train(cnn)
    with kernels.use(**{name: right[name]}):
        losses, _ = train(cnn)
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


@pytest.mark.parametrize("name", ["matmul", "attention_decode"])
def test_a_language_model_writes_with_it(right, name):
    from tinytorch.transformers import GPT

    np.random.seed(0)
    model = GPT(16, 8, 2, 2, 32)
    prompt = np.array([[1, 2, 3]])
    expected = model.generate(prompt, max_new_tokens=8, temperature=0)
    calls = []

    def counted(*args, **options):
        calls.append(name)
        return right[name](*args, **options)

    with kernels.use(**{name: counted}):
        written = model.generate(prompt, max_new_tokens=8, temperature=0)
    np.testing.assert_array_equal(
        np.asarray(getattr(written, "data", written)), np.asarray(getattr(expected, "data", expected))
    )
    assert calls
