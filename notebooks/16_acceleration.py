# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 16 · Acceleration
#
# **The question.** A matrix product is three loops and one line. Why is one program for it thousands of times
# as fast as another, when both do the same arithmetic?
#
# **The cost model, in one line.** $(M, K)$ times $(K, N)$ is $2MKN$ operations: at the machine's peak $P$ it
# takes $2MKN/P$ seconds, and every rung below is a reason why a program needs longer.
#
# The reasons, in the order in which you will remove them: the interpreter, one number in an instruction,
# two loads for every product, and memory read in the wrong order. A tile of $R \times W$ sums loads $R + W$
# numbers for $RW$ products. With $6 \times 16$ that is 22 loads for 96 products, where the plain loop has
# 192.
#
# You will build that ladder in NumPy and climb it in C, train a network and write text on your own kernel,
# and measure where each rung wins and where it loses. It takes about 45 minutes.

# %%
import os
from time import perf_counter

import numpy as np

import tinytorch as tt
from tinytorch import kernels, viz
from tinytorch.acceleration import thread_ladder
from tinytorch.course import ckernel, open_lab
from tinytorch.datasets import load_digits, load_text
from tinytorch.experiments import gallery
from tinytorch.kernels import lessons
from tinytorch.models.cnn import DigitsCNN
from tinytorch.models.gpt import next_token_loss
from tinytorch.profiling import amdahl, ceilings, rooflines
from tinytorch.timing import breakeven, noise_floor, race, race_many
from tinytorch.tokenization import BPETokenizer

# %load_ext tinytorch.course
lab = open_lab(16)
quick = bool(os.environ.get("TINYTORCH_QUICK"))
np.random.seed(0)
kernels.set_num_threads(1)
kernels.cpu_info()

# %% [markdown]
# ## 1. Predict
#
# Two square matrices of float32, one thread.
#
# - `times`: at $128 \times 128$, how many times as fast as three Python loops is the best kernel?
#
# A fast kernel first *packs*: it copies $b$ into the order in which it will read it.
#
# - `ratio`: at $1024 \times 1024$, how many times as fast is a kernel that packs, the copying included?
# - `pays_from`: from which size on is it faster at all?
#
# Write `lab.predict("ladder", times=…)` and `lab.predict("packing", ratio=…, pays_from=…)` with your numbers.
# A wrong guess costs nothing, and no guess teaches nothing. Once you have measured, it stays what it was.

# %% predict="ladder"
### BEGIN SOLUTION
lab.predict("ladder", times=1000)
lab.predict("packing", ratio=1.2, pays_from=64)
### END SOLUTION

# %% [markdown]
# ## 2. The baseline, and its noise
#
# What does this machine report for two *identical* functions? A gain smaller than this is no gain.


# %%
def matrices(size):
    rng = np.random.default_rng(size)
    return [rng.standard_normal((size, size), dtype=np.float32) for _ in range(2)]


a, b = matrices(256)
noise, same = noise_floor(lambda: kernels.matmul(a, b), seconds=lab.seconds)
peak, bandwidth = ceilings(kernels.cpu_info()["level"], 1)
print(f"the same product against itself: {same.ratio}, so anything within {noise:.3f}× is noise (measured)")
print(f"one thread multiplies and adds at {peak} at most, and reads memory at {bandwidth} (measured)")

# %% [markdown]
# ## 3. Build
#
# ### 3.1 Three loops
#
# $c_{ij} = \sum_p a_{ip} b_{pj}$, as it is written, number by number. NumPy only holds the result.


# %% build="matmul_loops"
def matmul_loops(a, b):
    """a (M, K), b (K, N), both float32: their product, float32 (M, N)."""
    ### BEGIN SOLUTION
    (m, k), n = a.shape, b.shape[1]
    c = np.zeros((m, n), np.float32)
    for i in range(m):
        for j in range(n):
            total = 0.0
            for p in range(k):
                total += a[i, p] * b[p, j]
            c[i, j] = total
    return c
    ### END SOLUTION


# %% check="matmul_loops"
lab.check("matmul_loops", matmul_loops)
### BEGIN HIDDEN TESTS
lab.check("matmul_loops", matmul_loops, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.2 Whole rows
#
# Swap the two inner loops, and the innermost one becomes an operation on whole rows, which NumPy does in C:
# row $i$ of $c$ is a sum of rows of $b$, each times one number of $a$. $MK$ calls are left of $MKN$ steps.


# %% build="matmul_rows"
def matmul_rows(a, b):
    """a (M, K), b (K, N): their product, float32 (M, N), by two loops and whole rows of b."""
    ### BEGIN SOLUTION
    (m, k), n = a.shape, b.shape[1]
    c = np.zeros((m, n), np.float32)
    for i in range(m):
        for p in range(k):
            c[i] += a[i, p] * b[p]
    return c
    ### END SOLUTION


# %% check="matmul_rows"
lab.check("matmul_rows", matmul_rows)
### BEGIN HIDDEN TESTS
lab.check("matmul_rows", matmul_rows, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.3 Outer products
#
# One loop: for each $p$, all of $c$ at once. A column of $a$ and a row of $b$ are $M + N$ numbers, and give
# $MN$ products: no number is loaded twice. That is what a tile will do in registers.
#
# Leading axes are batches, and broadcast: $(2, 1, M, K)$ times $(5, K, N)$ is $(2, 5, M, N)$. With `...` for
# them in the index it costs no more code. `np.broadcast_shapes` knows the result's.


# %% build="matmul_outer"
def matmul_outer(a, b):
    """a (…, M, K), b (…, K, N): their product, float32 (…, M, N), as a sum of outer products."""
    ### BEGIN SOLUTION
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    c = np.zeros((*batch, a.shape[-2], b.shape[-1]), np.float32)
    for p in range(a.shape[-1]):
        c += a[..., :, p, None] * b[..., p, None, :]
    return c
    ### END SOLUTION


# %% check="matmul_outer"
lab.check("matmul_outer", matmul_outer)
### BEGIN HIDDEN TESTS
lab.check("matmul_outer", matmul_outer, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.4 Tiles
#
# The outer product of whole columns goes over all of $c$ for each $p$. In tiles, a small piece of $c$ stays
# where it is fast to reach until it is done. Cut all three axes into pieces of `tile`; what is left at an
# edge is smaller, and counts too. `product` multiplies two pieces: any of your functions will do, or
# `np.matmul`.


# %% build="matmul_tiled"
def matmul_tiled(a, b, tile, product):
    """a (M, K), b (K, N): their product, float32 (M, N), by tiles.

    tile: the most rows, depth and columns of a piece; product: function from (m, k) and (k, n) to (m, n).
    """
    ### BEGIN SOLUTION
    (m, k), n = a.shape, b.shape[1]
    c = np.zeros((m, n), np.float32)
    for i in range(0, m, tile):
        for j in range(0, n, tile):
            for p in range(0, k, tile):
                a_tile, b_tile = a[i : i + tile, p : p + tile], b[p : p + tile, j : j + tile]
                c[i : i + tile, j : j + tile] += product(a_tile, b_tile)
    return c
    ### END SOLUTION


# %% check="matmul_tiled"
lab.check("matmul_tiled", matmul_tiled)
### BEGIN HIDDEN TESTS
lab.check("matmul_tiled", matmul_tiled, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.5 Packing
#
# A tile of `width` columns of $b$ reads `width` numbers, then skips to the next row, $4N$ bytes on. Packing
# copies these columns into a *panel* of their own, row after row, and the tile reads straight on. With
# `width=2`:
#
# $$\begin{pmatrix} 1 & 2 & 3 \\ 4 & 5 & 6 \end{pmatrix} \;\to\;
# \underbrace{1\;2\;4\;5}_{\text{columns 0, 1}}\; \underbrace{3\;0\;6\;0}_{\text{column 2, and zeros}}$$
#
# The zeros fill the last panel, so that the tile never meets an edge.


# %% build="pack"
def pack(b, width):
    """b (K, N): a flat float32 array, the panels one after the other, each K rows of `width` numbers."""
    ### BEGIN SOLUTION
    k, n = b.shape
    panels = -(-n // width)
    padded = np.zeros((k, panels * width), np.float32)
    padded[:, :n] = b
    return padded.reshape(k, panels, width).transpose(1, 0, 2).reshape(-1)
    ### END SOLUTION


def matmul_packed(a, packed, n, width):
    """a (M, K) times a b (K, n) that is packed in panels of `width`: float32 (M, n), panel by panel."""
    ### BEGIN SOLUTION
    m, k = a.shape
    c = np.empty((m, n), np.float32)
    for index, panel in enumerate(packed.reshape(-1, k, width)):
        columns = c[:, index * width : (index + 1) * width]
        columns[:] = (a @ panel)[:, : columns.shape[1]]
    return c
    ### END SOLUTION


# %% check="pack"
lab.check("pack", pack, matmul_packed)
### BEGIN HIDDEN TESTS
lab.check("pack", pack, matmul_packed, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. The same in C
#
# Each cell below is compiled, checked on odd and empty sizes in a process of its own, and raced at 256 ×
# 256. The compiler tells what it made of each innermost loop. They are yours: change them, and run them
# again. `%ckernel --help matmul` says what the function gets. Without a compiler the cell says so, and the
# lab goes on with TinyTorch's own lessons.
#
# **Three loops.** Same code as 3.1. The sum is one chain: every addition waits for the one before, and since
# floats round, the compiler may not add in another order.

# %% ckernel="matmul --name c_loops"
# void matmul(const float *a, const float *b, float *c, int m, int k, int n)
# {
#     for (int i = 0; i < m; i++)
#         for (int j = 0; j < n; j++) {
#             float sum = 0;
#             for (int p = 0; p < k; p++)
#                 sum += a[i * k + p] * b[p * n + j];
#             c[i * n + j] = sum;
#         }
# }

# %% [markdown]
# **Whole rows.** Your 3.2: two loops swapped, and nothing else. Now neighbouring steps write neighbouring
# numbers, no sum waits for another, and one instruction does many. `restrict` promises that the arrays do not
# overlap. Take it away, or go back to the order i, j, p, and read what the compiler says.

# %% ckernel="matmul --name c_rows"
# void matmul(const float *restrict a, const float *restrict b, float *restrict c, int m, int k, int n)
# {
#     for (int e = 0; e < m * n; e++)
#         c[e] = 0;
#     for (int i = 0; i < m; i++)
#         for (int p = 0; p < k; p++)
#             for (int j = 0; j < n; j++)
#                 c[i * n + j] += a[i * k + p] * b[p * n + j];
# }

# %% [markdown]
# **Tiles in registers.** Your 3.3, on 6 × 16 numbers of $c$: 96 sums are 12 registers of 8, and leave room
# for the operands in the 16 of AVX2. The compiler does not find this by itself, so `vec` is 8 floats, by
# hand; its account of that loop is that there are vectors already. Try `ROWS` 1, 2, 4 and 8. Why does 8 fall
# behind 6?

# %% ckernel="matmul --name c_tiles"
# #include <string.h>
#
# typedef float vec __attribute__((vector_size(32), aligned(4))); /* 8 floats */
# enum { ROWS = 6, VECTORS = 2, WIDTH = 8 * VECTORS };
#
# /* Some rows of a times WIDTH columns of b. The sums stay in registers until they are done. */
# static inline void tile(int rows, const float *a, const float *b, float *c, int k, int n)
# {
#     vec sum[ROWS][VECTORS] = {0};
#     for (int p = 0; p < k; p++)
#         for (int i = 0; i < rows; i++)
#             for (int v = 0; v < VECTORS; v++)
#                 sum[i][v] += a[i * k + p] * *(const vec *)(b + p * n + 8 * v);
#     for (int i = 0; i < rows; i++)
#         memcpy(c + i * n, sum[i], sizeof sum[i]);
# }
#
# void matmul(const float *a, const float *b, float *c, int m, int k, int n)
# {
#     for (int i = 0; i < m; i += ROWS) {
#         int j = 0, rows = m - i < ROWS ? m - i : ROWS;
#         for (; j + WIDTH <= n; j += WIDTH)
#             if (rows == ROWS) /* a constant, so that the sums become registers */
#                 tile(ROWS, a + i * k, b + j, c + i * n + j, k, n);
#             else
#                 tile(rows, a + i * k, b + j, c + i * n + j, k, n);
#         for (; j < n; j++) /* the columns that no tile covers */
#             for (int r = i; r < i + rows; r++) {
#                 float sum = 0;
#                 for (int p = 0; p < k; p++)
#                     sum += a[r * k + p] * b[p * n + j];
#                 c[r * n + j] = sum;
#             }
#     }
# }

# %% [markdown]
# **Packed.** Your 3.5: each panel is copied once, and read by all rows of tiles.

# %% ckernel="matmul --name c_packed"
# #include <stdlib.h>
# #include <string.h>
#
# typedef float vec __attribute__((vector_size(32), aligned(4))); /* 8 floats */
# enum { ROWS = 6, VECTORS = 2, WIDTH = 8 * VECTORS };
#
# /* Some columns of b, row by row, with zeros up to WIDTH. */
# static void pack(const float *b, float *panel, int k, int n, int columns)
# {
#     memset(panel, 0, sizeof *panel * WIDTH * k);
#     for (int p = 0; p < k; p++)
#         memcpy(panel + p * WIDTH, b + p * n, sizeof *b * columns);
# }
#
# /* Some rows of a times a panel. */
# static inline void tile(int rows, const float *a, const float *panel, float *c, int k, int n, int columns)
# {
#     vec sum[ROWS][VECTORS] = {0};
#     for (int p = 0; p < k; p++)
#         for (int i = 0; i < rows; i++)
#             for (int v = 0; v < VECTORS; v++)
#                 sum[i][v] += a[i * k + p] * ((const vec *)panel)[p * VECTORS + v];
#     for (int i = 0; i < rows; i++)
#         memcpy(c + i * n, sum[i], sizeof *c * columns);
# }
#
# void matmul(const float *a, const float *b, float *c, int m, int k, int n)
# {
#     float *panel = malloc(sizeof *panel * WIDTH * k);
#     for (int j = 0; j < n; j += WIDTH) {
#         int columns = n - j < WIDTH ? n - j : WIDTH;
#         pack(b + j, panel, k, n, columns);
#         for (int i = 0; i < m; i += ROWS)
#             if (i + ROWS <= m)
#                 tile(ROWS, a + i * k, panel, c + i * n + j, k, n, columns);
#             else
#                 tile(m - i, a + i * k, panel, c + i * n + j, k, n, columns);
#     }
#     free(panel);
# }

# %%
if c_packed is None:  # no compiler here
    c_loops, c_rows, c_tiles, c_packed = (lessons.matmul[step] for step in (0, 1, 3, 4))

# %% [markdown]
# ## 5. Measure
#
# The whole ladder at 128 × 128, on one thread, against three Python loops and against the peak. Your guess is
# needed now.

# %%
guess = lab.prediction("ladder")
size = 32 if quick else 128
a, b = matrices(size)
packed = pack(b, 16)
rungs = {
    "Python, loops": lambda: matmul_loops(a, b),
    "NumPy, rows": lambda: matmul_rows(a, b),
    "NumPy, outer": lambda: matmul_outer(a, b),
    "NumPy, tiles": lambda: matmul_tiled(a, b, 64, matmul_outer),
    "C, loops": lambda: c_loops(a, b),
    "C, rows": lambda: c_rows(a, b),
    "C, tiles": lambda: c_tiles(a, b),
    "C, packed": lambda: c_packed(a, b),
    "TinyTorch": lambda: kernels.matmul(a, b),
}
races = race_many(rungs, repeats={"Python, loops": 1}, rounds=6, sample_seconds=lab.seconds / 20)
work = 2 * size**3 / 1e9
speeds = {name: races.rate(name, work, "GFLOP/s") for name in rungs}
for name, speed in speeds.items():
    gain, share = races.between("Python, loops", name).ratio.value, speed.value / peak.value
    print(f"{name:>13}: {races.time(name)}, {gain:8,.0f}× the loops, {share:8.3%} of the peak")
print(f"(measured; for the best kernel you said {guess['times']:,g}×)")

# %%
bars = {"your guess (predicted)": guess["times"] * speeds["Python, loops"].value}
bars |= {f"{name} (measured)": speed.value for name, speed in speeds.items()}
bars["the peak (measured)"] = peak.value
viz.bars(
    [{"name": "speed", "x": list(bars), "y": list(bars.values())}],
    title=f"One product, {size} × {size}, one thread", y_label="GFLOP/s", y_scale="log",
)  # fmt: skip

# %%
viz.roofline(
    [
        rooflines.place(name, 2 * size**3, 12 * size**2, speeds[name], threads=1)
        for name in ("Python, loops", "NumPy, outer", "C, loops", "C, rows", "C, packed", "TinyTorch")
    ],
    title="Some of them under the roofline",
)

# %% [markdown]
# All dots stand on one vertical line: the same operations, the same bytes that must be moved. What differs
# is how often a number is fetched again, and what happens around it.
#
# ### What packing gains, at three sizes
#
# Your two kernels in C, tiles with packing against tiles without.

# %%
guess = lab.prediction("packing")


def product_call(kernel, size):
    a, b = matrices(int(size))
    return lambda: kernel(a, b)


for name, size in (("too small", 64), ("right", 512), ("large", 256 if quick else 1024)):
    result = race(product_call(c_tiles, size), product_call(c_packed, size), seconds=lab.seconds, noise=noise)
    print(f"{name:>9} ({size} × {size}): packed is {result.ratio} as fast: {result.verdict} (measured)")

# %% [markdown]
# ### From where on does it pay?

# %%
pays = breakeven(
    lambda size: product_call(c_tiles, size), lambda size: product_call(c_packed, size),
    [32, 64, 128, 256] if quick else [32, 64, 128, 256, 512, 1024], step=16,
    seconds=lab.seconds / 2, noise=noise,
)  # fmt: skip
print(f"packing pays from {pays.answer} rows (measured); you said {guess['pays_from']:g}")
viz.break_even(
    pays,
    guess=(guess["pays_from"], guess["ratio"]),
    title="Tiles, packed against not",
    x_label="rows = columns",
)

# %% [markdown]
# ## 6. Break it
#
# **Tiles for what fits the cache.** 48 × 48 numbers are 9 KB, and the nearest cache holds more than that.
# Your tiles, with NumPy's product inside, against NumPy's product:

# %%
for size in (48, 512):
    a, b = matrices(size)
    result = race(
        lambda a=a, b=b: a @ b, lambda a=a, b=b: matmul_tiled(a, b, -(-size // 3), np.matmul),
        seconds=lab.seconds, noise=noise,
    )  # fmt: skip
    print(f"{size:>4} × {size}, 27 tiles: {result.ratio} as fast: {result.verdict} (measured)")

# %% [markdown]
# They do not help with 512 rows either: NumPy's BLAS has tiles of its own inside.
#
# **Threads.** The packed lesson, on one thread and on more, at 64 × 64 and at 1024 × 1024:

# %%
if kernels.cpu_info()["cores"] > 1:
    for size in (64, 256 if quick else 1024):
        threaded = product_call(lessons.matmul[5], size)
        print(f"{size} × {size} (measured)\n{thread_ladder(threaded, seconds=lab.seconds, noise=noise)}")

# %% [markdown]
# **Two more**, from the gallery of optimizations that lose, raced here and now:

# %%
kernels.set_num_threads(int(kernels.cpu_info()["cores"]))
for name in ("threads_on_a_small_product", "packing_used_once"):
    finding = gallery.run(name, seconds=lab.seconds)
    print(f"{finding} (measured)")
kernels.set_num_threads(1)

# %% [markdown]
# ## 7. Explain the gap
#
# `c_loops` and `c_rows` do the same multiplications and additions, and only two loops are swapped. Yet one is
# many times as fast. What does the compiler's account say?
#
# - (a) the plain loop multiplies more often
# - (b) the plain loop adds into one sum, and floats may not be added in another order; in rows, the sums of
#   neighbouring columns do not depend on each other, so one instruction adds many
# - (c) the plain loop calls a function for each element
# - (d) the matrices do not fit into memory

# %% build="gap"
gap = None  # "a", "b", "c" or "d"
### BEGIN SOLUTION
gap = "b"
### END SOLUTION

# %% check="gap"
lab.check("gap", gap)
### BEGIN HIDDEN TESTS
lab.check("gap", gap, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# In one or two sentences: packing copies all of $b$ once. Why does it lose at 64 × 64 and win at 1024 × 1024?

# %% [markdown] answer="gap" points=1
# ### BEGIN SOLUTION
# The copy is $N^2$ work beside $N^3$ products, so its share falls as 1/N; at 64 rows it is large, and all
# of b lies in the L1 cache anyway. At 1024 the tile's rows lie 4 KB apart: each is on another page and
# falls into the same sets of the cache, and a panel that lies in one piece does not.
# ### END SOLUTION

# %% [markdown]
# ## 8. When, and when not
#
# | Do it when | Leave it when |
# |---|---|
# | loops run in Python: move the innermost one into NumPy or C | a library has the operation: call it |
# | loop order: always, it is free | |
# | register tiles: numbers are used many times | each is used once: a matrix times a vector |
# | packing: a matrix is large, or used many times | it is small, or used once |
# | threads: a product takes far longer than waking one | products are small, or cores are busy already |
#
# ## 9. The whole model
#
# `kernels.use(matmul=…)` puts your kernel under everything: linear layers, convolutions and attention,
# forward and backward. First a convolutional network learns handwritten digits on it.

# %%
images, labels = load_digits(size=32, split="train")
held_out, truth = load_digits(size=32, split="test")


def train(matmul=None, epochs=1 if quick else 3):
    """A network, trained on a kernel; None is TinyTorch's."""
    np.random.seed(0)
    model = DigitsCNN(channels=(8, 16, 32), hidden=64)
    trainer = tt.Trainer(
        model, tt.Adam(model.parameters(), lr=4e-3), tt.CrossEntropyLoss(), progress=False
    )  # fmt: skip
    loader = tt.DataLoader(
        tt.TensorDataset(tt.Tensor(images), tt.Tensor(labels)), batch_size=32, shuffle=True, seed=0
    )
    with kernels.use(matmul=matmul):
        for _ in range(epochs):
            trainer.train_epoch(loader)
        model.eval()
        return (model(tt.Tensor(held_out)).data.argmax(axis=1) == truth).mean()


for name, matmul in (("TinyTorch's kernel", None), ("your C, packed", c_packed)):
    start = perf_counter()
    right = train(matmul)
    print(f"{name:>18}: {perf_counter() - start:.1f} s, {right:.1%} of {len(truth)} right (measured)")

# %% [markdown]
# Now one training step, on each rung. A step is more than its products, so the gains shrink: that is
# Amdahl's law. With the share $s$ of the time that products take on `c_loops`, and products $f$ times as
# fast on `c_packed`, the step should be $1 / (1 - s + s/f)$ times as fast.

# %%
model = DigitsCNN(channels=(8, 16, 32), hidden=64)
optimizer, loss_fn = tt.Adam(model.parameters()), tt.CrossEntropyLoss()


def step():
    loss = loss_fn(model(tt.Tensor(images[:32])), labels[:32])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def step_on(matmul):
    with kernels.use(matmul=matmul):
        step()


def seconds_of(matmul, steps=5):
    """Median seconds of a step, and of the products in it."""
    spent = []

    def timed(a, b):
        start = perf_counter()
        c = matmul(a, b)
        spent[-1] += perf_counter() - start
        return c

    whole = []
    for _ in range(steps):
        spent.append(0.0)
        start = perf_counter()
        step_on(timed)
        whole.append(perf_counter() - start)
    return np.median(whole), np.median(spent)


slow, slow_products = seconds_of(c_loops)
_, fast_products = seconds_of(c_packed)
share, factor = slow_products / slow, slow_products / fast_products
forms = {
    "your NumPy, outer": lambda: step_on(matmul_outer),
    "your C, loops": lambda: step_on(c_loops),
    "your C, packed": lambda: step_on(c_packed),
    "TinyTorch": step,
}
races = race_many(forms, rounds=6, repeats=dict.fromkeys(forms, 1), compare=False)
for name in forms:
    gain = races.between("your C, loops", name).ratio
    print(f"{name:>18}: {races.time(name)} for a step, {gain} of your plain loops (measured)")
print(f"products are {share:.0%} of a step on C, loops; packed ones are {factor:.1f}× as fast (measured)")
most = amdahl(share, np.inf)
print(f"so a step should be {amdahl(share, factor):.1f}× as fast, and {most:.1f}× at most (modelled)")

# %% [markdown]
# TinyTorch's step is faster than its product explains: its convolution reads the image in place, where yours
# multiplies an unfolded copy of it.
#
# And a GPT that writes on your kernel, with the price of it. It learns from "Alice's Adventures in
# Wonderland" first, for a few seconds.

# %%
text = load_text("alice")
tokenizer = BPETokenizer(512)
tokenizer.train(text)
book = np.asarray(tokenizer.encode(text))
gpt = tt.GPT(tokenizer.vocab_size, embed_dim=64, num_layers=2, num_heads=4, max_seq_len=128)
gpt_optimizer = tt.AdamW(gpt.parameters(), lr=3e-3)
rng = np.random.default_rng(0)
for _ in range(10 if quick else 400):
    starts = rng.integers(0, len(book) - 65, 8)
    windows = book[starts[:, None] + np.arange(65)]
    loss = next_token_loss(gpt(windows[:, :-1]), windows[:, 1:])
    gpt_optimizer.zero_grad()
    loss.backward()
    gpt_optimizer.step()
gpt.eval()
prompt = np.asarray(tokenizer.encode("Alice was beginning to"))[None]
write = lambda: gpt.generate(prompt, 32, temperature=0).data
with kernels.use(matmul=c_packed):
    written = write()
print(tokenizer.decode(written[0].tolist()))
print(f"{(written == write()).mean():.0%} of the tokens are those of TinyTorch's kernels (measured)")
price = ckernel.price(write, matmul=c_packed, seconds=2 * lab.seconds)
print(f"on your kernel it writes at {price.ratio} of the speed (measured)")

# %% [markdown]
# A GPT writes one token at a time: matrices with one row, in which every weight is used once. Your kernel
# packs them for every token, which "packing used once" has warned of. TinyTorch packs them once for the whole
# text, and runs all layers in one call.
#
# ## 10. In production
#
# - **The ladder is old and has names**: blocking for caches, Lam, Rothberg and Wolf, [The cache performance
#   and optimizations of blocked algorithms](https://doi.org/10.1145/106972.106981) (1991); packing and
#   register tiles, Goto and van de Geijn, [Anatomy of high-performance matrix
#   multiplication](https://doi.org/10.1145/1356052.1356053) (2008).
# - **OpenBLAS** carries that on, and is what NumPy's own wheels multiply with:
#   [OpenBLAS](https://github.com/OpenMathLib/OpenBLAS). **BLIS** needs one small kernel for each CPU, the
#   tile; the rest is portable: Van Zee and van de Geijn, [BLIS](https://doi.org/10.1145/2764454) (2015).
# - **PyTorch** multiplies on CPUs with MKL or [oneDNN](https://github.com/uxlfoundation/oneDNN), which
#   write their kernels at run time, for the CPU and the shape at hand.
# - **Hardware**: AVX-512 has 32 registers of 16 floats, so tiles are larger; AMX and Apple's matrix units
#   hold the tile themselves, and so do the tensor cores of GPUs.
# - **Compilers** find tiles by search: [TVM](https://arxiv.org/abs/1802.04799) (2018) on many devices,
#   [Triton](https://triton-lang.org) on GPUs, where the program is written in tiles to begin with.
# - The roofline: Williams, Waterman and Patterson, [Roofline: an insightful visual performance model for
#   multicore architectures](https://doi.org/10.1145/1498765.1498785) (2009).
