"""Every step of every ladder computes what its step 0 does, whatever the shape, and says what it is."""

import threading
from pathlib import Path

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.kernels import SparseMatrix, lessons

from .common import randn, whole

LADDERS = {
    "matmul": ["plain", "reordered", "tiled", "vectorised", "packed", "threaded"],
    "matmul_int8": ["plain", "reordered", "vectorised", "grouped", "wide"],
    "sparse_matmul": ["dense", "skipping", "compressed", "vectorised", "blocks"],
    "conv2d": ["plain", "reordered", "unfolded", "vectorised", "in place"],
    "attention": ["plain", "rows", "online", "tiled", "vectorised"],
}
# How many of each ladder's steps are plain C.
PLAIN = {"matmul": 3, "matmul_int8": 2, "sparse_matmul": 3, "conv2d": 3, "attention": 4}
# Around the tiles (2 to 12 rows; 1 to 64 columns) and the blocks (64, 144, 256), and what is empty.
SHAPES = [
    (1, 1, 1), (2, 3, 5), (4, 16, 4), (5, 17, 64), (7, 33, 65), (13, 31, 63), (9, 130, 7),
    (150, 70, 300), (145, 19, 257), (0, 3, 2), (3, 0, 2), (3, 2, 0),
]  # fmt: skip


def steps(ladder):
    """Parametrizes a test over the steps of a ladder."""
    return pytest.mark.parametrize("step", getattr(lessons, ladder), ids=lambda step: step.name)


EVERY_STEP = pytest.mark.parametrize(
    ("ladder", "step"),
    [
        pytest.param(ladder, step, id=f"{ladder}-{step.name}")
        for ladder in LADDERS
        for step in getattr(lessons, ladder)
    ],
)


def arguments(ladder):
    """Small valid arguments for each ladder, and the exact result."""
    if ladder == "matmul_int8":
        a, b = np.full((3, 5), 200, np.uint8), np.full((5, 7), -3, np.int8)
        return (a, b), np.full((3, 7), -3000, np.int32)
    if ladder == "conv2d":
        return (np.ones((2, 3, 5, 6)), np.ones((4, 3, 2, 2))), np.full((2, 4, 4, 5), 12)
    if ladder == "attention":
        return (np.ones((2, 3, 4)), np.ones((2, 5, 4)), np.full((2, 5, 4), 2)), np.full((2, 3, 4), 2)
    return (np.ones((6, 5)), np.ones((5, 7))), np.full((6, 7), 5)


class TestLadders:
    def test_they_are_complete(self):
        for ladder, names in LADDERS.items():
            found = getattr(lessons, ladder)
            assert [step.name for step in found] == names
            assert [step.number for step in found] == list(range(len(names)))

    @EVERY_STEP
    def test_a_step_says_what_it_is(self, ladder, step):
        assert step.description
        source = Path(__file__).parents[2] / step.source
        assert source.is_file() and source.name.startswith(f"{ladder}_")
        plain = step.number < PLAIN[ladder]
        assert (source.parent.name == "lessons") == plain
        if plain:
            assert "no-tree-vectorize" in step.flags or "/O2" in step.flags

    @EVERY_STEP
    @pytest.mark.kernel
    def test_out_is_overwritten_whatever_it_held(self, ladder, step):
        given, expected = arguments(ladder)
        out = np.full(expected.shape, 77 if ladder == "matmul_int8" else np.nan, step(*given).dtype)
        assert step(*given, out) is out
        assert np.array_equal(out, expected)

    @EVERY_STEP
    def test_bad_out_is_refused(self, ladder, step):
        given, expected = arguments(ladder)
        dtype = np.int32 if ladder == "matmul_int8" else np.float32
        with pytest.raises(ValueError, match=r"out has"):
            step(*given, np.empty((*expected.shape[:-1], 9), dtype))
        with pytest.raises(TypeError, match="out must be"):
            step(*given, np.empty(expected.shape))
        frozen = np.empty(expected.shape, dtype)
        frozen.flags.writeable = False
        with pytest.raises(ValueError, match="read-only"):
            step(*given, frozen)

    @pytest.mark.parametrize("ladder", ["matmul", "sparse_matmul", "conv2d", "attention"])
    def test_an_out_that_shares_memory_is_refused(self, ladder):
        square = (1, 1, 4, 4) if ladder == "conv2d" else (2, 4, 4) if ladder == "attention" else (4, 4)
        x = np.ones(square, np.float32)
        w = np.ones((1, 1, 1, 1)) if ladder == "conv2d" else x + 1
        given = (x, x + 1, x + 2) if ladder == "attention" else (w, x)[:: -1 if ladder == "conv2d" else 1]
        for step in getattr(lessons, ladder):
            with pytest.raises(ValueError, match="shares memory"):
                step(*given, x)

    @EVERY_STEP
    def test_threads_may_run_it_at_the_same_time(self, ladder, step):
        given, expected = arguments(ladder)
        results = []

        def run():
            results.extend(step(*given) for _ in range(20))

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 60 and all(np.array_equal(result, expected) for result in results)


@pytest.mark.kernel
class TestMatmul:
    @steps("matmul")
    @pytest.mark.parametrize(("m", "n", "k"), SHAPES)
    def test_equals_numpy(self, step, m, n, k):
        a, b = whole(m, k), whole(k, n)
        assert np.array_equal(step(a, b), a @ b)

    @steps("matmul")
    def test_nan_and_infinity_spread(self, step):
        a, b = np.ones((5, 3), np.float32), np.ones((3, 7), np.float32)
        a[1, 2], b[0, 4] = np.nan, np.inf
        with np.errstate(invalid="ignore"):
            assert np.array_equal(step(a, b), a @ b, equal_nan=True)

    def test_threads_do_not_change_the_result(self):
        a, b = randn(200, 200, seed=1), randn(200, 200, seed=2)
        packed, threaded = lessons.matmul[4], lessons.matmul[5]
        before = kernels.get_num_threads()
        try:
            for threads in (1, 2, 3, 7):
                kernels.set_num_threads(threads)
                assert np.array_equal(threaded(a, b), packed(a, b))
        finally:
            kernels.set_num_threads(before)

    @steps("matmul")
    def test_converts_what_is_not_float32_or_contiguous(self, step):
        a, b = np.arange(6).reshape(2, 3), np.arange(12.0).reshape(4, 3).T
        assert np.array_equal(step(a, b), (a @ b).astype(np.float32))

    @steps("matmul")
    def test_mismatched_shapes_say_so(self, step):
        with pytest.raises(ValueError, match=r"4 is not 3"):
            step(np.ones((2, 4)), np.ones((3, 5)))
        with pytest.raises(ValueError, match=r"2 axes \(M, K\)"):
            step(np.ones(4), np.ones((4, 5)))


@pytest.mark.kernel
class TestMatmulInt8:
    @steps("matmul_int8")
    @pytest.mark.parametrize(("m", "n", "k"), SHAPES)
    def test_equals_numpy(self, step, m, n, k):
        rng = np.random.default_rng([m, n, k])
        a, b = rng.integers(0, 256, (m, k), np.uint8), rng.integers(-128, 128, (k, n), np.int8)
        assert np.array_equal(step(a, b), a.astype(np.int32) @ b.astype(np.int32))

    @steps("matmul_int8")
    def test_the_largest_sums_do_not_overflow(self, step):
        a, b = np.full((2, 65536), 255, np.uint8), np.full((65536, 3), -128, np.int8)
        assert (step(a, b) == -255 * 128 * 65536).all()
        with pytest.raises(ValueError, match="65537"):
            step(np.ones((1, 65537), np.uint8), np.ones((65537, 1), np.int8))

    @steps("matmul_int8")
    def test_other_types_are_refused(self, step):
        a, b = np.ones((2, 3), np.uint8), np.ones((3, 2), np.int8)
        with pytest.raises(TypeError, match="a must be an array of uint8"):
            step(a.astype(np.int8), b)
        with pytest.raises(TypeError, match="b must be an array of int8"):
            step(a, b.astype(np.int64))


@pytest.mark.kernel
class TestSparseMatmul:
    @steps("sparse_matmul")
    @pytest.mark.parametrize(("m", "n", "k"), SHAPES)
    @pytest.mark.parametrize("sparsity", [0.0, 0.8, 1.0])
    def test_equals_numpy(self, step, m, n, k, sparsity):
        w, x = whole(m, k), whole(k, n)
        w[np.random.default_rng(0).random(w.shape) < sparsity] = 0
        assert np.array_equal(step(w, x), w @ x)
        assert np.array_equal(step(step.prepare(w), x), w @ x)

    def test_zeros_that_are_skipped_stop_a_nan(self):
        w, x = np.zeros((1, 2), np.float32), np.full((2, 3), np.nan, np.float32)
        dense, *others = lessons.sparse_matmul
        assert np.isnan(dense(w, x)).all()
        assert all((step(w, x) == 0).all() for step in others)

    def test_wide_indices(self):
        w, x = np.zeros((4, 70000), np.float32), whole(70000, 3)
        w[2, 69999] = w[1, 5] = 1
        assert all(np.array_equal(step(w, x), w @ x) for step in lessons.sparse_matmul)

    def test_each_takes_its_own_form(self):
        blocks = [step.block for step in lessons.sparse_matmul]
        assert blocks == [None, None, (1, 1), (1, 1), (4, 1)]
        w = lessons.CompressedMatrix(SparseMatrix.from_dense(np.eye(8), (2, 1)))
        for step in lessons.sparse_matmul:
            with pytest.raises(ValueError, match=r"in blocks of \(2, 1\)"):
                step(w, np.ones((8, 3)))

    @steps("sparse_matmul")
    def test_mismatched_shapes_say_so(self, step):
        with pytest.raises(ValueError, match=r"4 is not 3"):
            step(np.ones((2, 4)), np.ones((3, 5)))


@pytest.mark.kernel
class TestConv2d:
    @steps("conv2d")
    @pytest.mark.parametrize(
        ("x", "w", "stride", "padding"),
        [
            ((1, 1, 1, 1), (1, 1, 1, 1), 1, 0),
            ((2, 3, 8, 8), (4, 3, 3, 3), 1, 1),
            ((1, 2, 9, 40), (9, 2, 3, 3), 1, (0, 1)),
            ((1, 3, 13, 35), (5, 3, 5, 4), (2, 3), (3, 2)),
            ((2, 2, 7, 7), (3, 2, 7, 7), 2, 3),
            ((1, 1, 3, 3), (1, 1, 2, 2), 5, 6),
            ((1, 17, 5, 33), (17, 17, 1, 1), 1, 0),
            ((0, 2, 4, 4), (3, 2, 2, 2), 1, 0),
            ((2, 0, 4, 4), (3, 0, 2, 2), 1, 1),
            ((2, 2, 4, 4), (0, 2, 2, 2), 1, 1),
            ((1, 1, 0, 3), (1, 1, 2, 2), 1, 1),
        ],
    )
    def test_equals_the_reference(self, step, x, w, stride, padding):
        x, w = whole(*x), whole(*w)
        expected = kernels.reference.conv2d(x, w, stride=_pair(stride), padding=_pair(padding))
        assert np.array_equal(step(x, w, stride=stride, padding=padding), expected)

    @steps("conv2d")
    def test_nan_and_infinity_reach_the_windows_that_hold_them(self, step):
        x, w = np.ones((1, 1, 6, 20), np.float32), np.ones((1, 1, 3, 3), np.float32)
        x[0, 0, 2, 3], x[0, 0, 4, 15] = np.nan, np.inf
        y = step(x, w)[0, 0]
        assert np.isnan(y[0:3, 1:4]).all() and np.isinf(y[2:4, 13:16]).all()
        assert np.isfinite(y).sum() == y.size - 9 - 6

    @steps("conv2d")
    def test_mistakes_are_explained(self, step):
        x, w = np.ones((1, 2, 4, 4)), np.ones((3, 2, 3, 3))
        with pytest.raises(ValueError, match="2 channels"):
            step(x, np.ones((3, 1, 3, 3)))
        with pytest.raises(ValueError, match="more than x"):
            step(x, np.ones((3, 2, 5, 5)))
        with pytest.raises(ValueError, match="stride must be at least 1"):
            step(x, w, stride=0)
        with pytest.raises(ValueError, match=r"4 axes \(N, C, H, W\)"):
            step(x[0], w)


def _pair(value):
    return value if isinstance(value, tuple) else (value, value)


def attend(q, k, v, causal):
    """The definition, in float64."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[2])
    if causal:
        scores[:, np.arange(scores.shape[1])[:, None] < np.arange(scores.shape[2])] = -np.inf
    weights = np.exp(scores - scores.max(axis=2, keepdims=True))
    return weights / weights.sum(axis=2, keepdims=True) @ v


@pytest.mark.kernel
class TestAttention:
    @steps("attention")
    @pytest.mark.parametrize("causal", [False, True])
    @pytest.mark.parametrize(
        ("heads", "t", "s", "d"),
        [(1, 1, 1, 1), (2, 5, 5, 3), (1, 16, 64, 8), (3, 37, 37, 17), (1, 7, 200, 64), (1, 130, 70, 9)],
    )
    def test_equals_the_definition(self, step, heads, t, s, d, causal):
        q, k, v = randn(heads, t, d, seed=1), randn(heads, s, d, seed=2), randn(heads, s, d, seed=3)
        # A few ulps for each of s exponentials and products of values of about 1.
        np.testing.assert_allclose(step(q, k, v, causal=causal), attend(q, k, v, causal), atol=1e-5)

    @steps("attention")
    def test_equal_scores_give_the_mean(self, step):
        # Weights of 1 / 2^n: every sum is exact.
        v = whole(2, 128, 7)
        assert np.array_equal(step(np.zeros((2, 5, 7)), whole(2, 128, 7), v)[:, 3], v.sum(axis=1) / 128)

    @steps("attention")
    def test_scores_beyond_the_range_of_exp(self, step):
        q = np.full((1, 3, 4), 100, np.float32)
        k = np.arange(400, dtype=np.float32).reshape(1, 100, 4)
        v = whole(1, 100, 4)
        assert np.array_equal(step(q, k, v)[0], np.repeat(v[:, -1], 3, axis=0))

    @steps("attention")
    @pytest.mark.parametrize(
        ("heads", "t", "s", "d"), [(0, 2, 2, 2), (1, 0, 2, 2), (1, 2, 0, 2), (1, 2, 2, 0)]
    )
    def test_empty(self, step, heads, t, s, d):
        y = step(np.ones((heads, t, d)), np.ones((heads, s, d)), np.ones((heads, s, d)))
        assert y.shape == (heads, t, d) and not y.any()

    @steps("attention")
    def test_a_nan_stays_with_its_query(self, step):
        q, k, v = np.ones((1, 40, 4)), np.ones((1, 6, 4)), np.ones((1, 6, 4))
        q[0, 3, 1] = np.nan
        y = step(q, k, v)
        assert np.isnan(y[0, 3]).all() and (np.delete(y, 3, axis=1) == 1).all()

    @steps("attention")
    def test_mismatched_shapes_say_so(self, step):
        with pytest.raises(ValueError, match="must agree"):
            step(np.ones((1, 2, 4)), np.ones((1, 3, 4)), np.ones((1, 2, 4)))
        with pytest.raises(ValueError, match="must agree"):
            step(np.ones((1, 2, 4)), np.ones((1, 3, 5)), np.ones((1, 3, 5)))
        with pytest.raises(ValueError, match=r"3 axes \(H, S, D\)"):
            step(np.ones((1, 2, 4)), np.ones((3, 4)), np.ones((3, 4)))
