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
# # Lab 18 · Pruning
#
# **The question.** Most weights of a trained network are small. What is gained, and what is lost, when they
# are set to zero?
#
# **The cost model, in one line.** A linear layer with $B$ samples and a $K \times N$ weight does $2BKN$
# operations. Without the share $s$ of its weights, it could do $2BKN(1-s)$ of them: up to $\frac{1}{1-s}$
# times as fast, so 20× at $s = 95\,\%$.
#
# But a zero is skipped only by a kernel that never meets it. What is left must say where it belongs: 4 bytes
# become 4 for the weight and 2 to 4 for its place, and the input is read here and there instead of in a row.
#
# You will build masks, a sparse format and a sparse product, prune a real network, train it on with its zeros
# held, and measure from how many zeros on it wins. It takes about 45 minutes.

# %%
import copy
import os

import numpy as np
from IPython.display import display

import tinytorch as tt
from tinytorch import kernels, viz
from tinytorch.acceleration import optimize
from tinytorch.course import open_lab
from tinytorch.datasets import load_digits
from tinytorch.experiments import gallery
from tinytorch.models.cnn import DigitsCNN
from tinytorch.models.mlp import MLPClassifier
from tinytorch.pruning import decisions_table, prune, sparsify
from tinytorch.timing import breakeven, noise_floor, race, race_many

lab = open_lab(18)
quick = bool(os.environ.get("TINYTORCH_QUICK"))
np.random.seed(0)
kernels.cpu_info()

# %% [markdown]
# ## 1. Predict
#
# A layer of 512 × 512, 64 samples at once; the smallest weights gone, one by one. A sparse kernel against the
# dense one at its best.
#
# - `pays_from`: from how many percent of zeros on is sparse faster?
# - `ratio`: with 95 % of the weights gone, how many times as fast is it?
#
# Write `lab.predict("sparse", pays_from=…, ratio=…)` with your two numbers. Once you have measured, they stay
# what they were.

# %% predict="sparse"
### BEGIN SOLUTION
lab.predict("sparse", pays_from=50, ratio=20)
### END SOLUTION

# %% [markdown]
# ## 2. The baseline, and its noise
#
# What does this machine report for two *identical* functions? A gain smaller than this is no gain. One thread
# for all layers here, so that kernels are compared and not how they share out their work.


# %%
threads = kernels.get_num_threads()
kernels.set_num_threads(1)


def samples_and_weight(width, batch):
    rng = np.random.default_rng(width)
    x = rng.random((batch, width), dtype=np.float32)
    return x, rng.standard_normal((width, width), dtype=np.float32) / np.float32(np.sqrt(width))


def dense_call(width=512, batch=64):
    """A layer at its best in float32: weights packed once, before the clock starts, where that helps."""
    x, w = samples_and_weight(width, batch)
    weight = w if batch == 1 else kernels.pack(w)
    return lambda: kernels.linear(x, weight)


noise, identical = noise_floor(dense_call(), seconds=lab.seconds)
print(f"the same layer against itself: {identical.ratio}; anything within {noise:.3f}× is noise (measured)")

# %% [markdown]
# ## 3. Build
#
# ### 3.1 A mask
#
# The smallest weights change the answer least. *Small* means close to 0, whatever the sign, and all weights
# of the array compete with each other.


# %% build="magnitude_mask"
def magnitude_mask(w, sparsity):
    """Which weights to keep: a bool array of w's shape, False at the smallest.

    Exactly round(sparsity * w.size) are False; which of several equal ones does not matter.
    """
    ### BEGIN SOLUTION
    keep = np.ones(w.size, bool)
    keep[np.argsort(np.abs(w).ravel())[: round(sparsity * w.size)]] = False
    return keep.reshape(w.shape)
    ### END SOLUTION


# %% check="magnitude_mask"
lab.check("magnitude_mask", magnitude_mask)
### BEGIN HIDDEN TESTS
lab.check("magnitude_mask", magnitude_mask, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.2 Blocks
#
# A kernel likes zeros that come together. A *4×1 block* is 4 consecutive outputs of one input; they stand or
# fall together, judged by their mean $|w|$. `w` is (in, out) here, as in every `Linear`.


# %% build="block_mask"
def block_mask(w, sparsity, block=4):
    """Which weights of w (in, out) to keep: bool (in, out), in blocks of so many consecutive outputs.

    The blocks of least mean |w| go, round(sparsity * number of blocks) of them. out is a multiple of block.
    """
    ### BEGIN SOLUTION
    scores = np.abs(w).reshape(len(w), -1, block).mean(axis=2)
    return np.repeat(magnitude_mask(scores, sparsity), block, axis=1)
    ### END SOLUTION


# %% check="block_mask"
lab.check("block_mask", block_mask)
### BEGIN HIDDEN TESTS
lab.check("block_mask", block_mask, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.3 Compressed rows
#
# How to store a matrix without its zeros: `values` holds the others, row after row, and `indices` the column
# of each. `row_pointers` says where rows begin: row $i$ has the entries from `row_pointers[i]` to
# `row_pointers[i + 1]`, the last not included. This is CSR, and nearly every sparse library speaks it.
#
# $$\begin{pmatrix} 0 & 5 & 7 \\ 0 & 0 & 0 \\ 9 & 0 & 0 \end{pmatrix} \quad\rightarrow\quad
# \texttt{values} = 5\ 7\ 9 \qquad \texttt{indices} = 1\ 2\ 0 \qquad \texttt{row\_pointers} = 0\ 2\ 2\ 3$$


# %% build="to_csr"
def to_csr(matrix):
    """(values, indices, row_pointers) of a float32 matrix: float32, int32 and int32 arrays."""
    ### BEGIN SOLUTION
    rows, columns = np.nonzero(matrix)
    counts = np.bincount(rows, minlength=len(matrix))
    row_pointers = np.concatenate([[0], np.cumsum(counts)])
    return matrix[rows, columns], columns.astype(np.int32), row_pointers.astype(np.int32)
    ### END SOLUTION


# %% check="to_csr"
lab.check("to_csr", to_csr)
### BEGIN HIDDEN TESTS
lab.check("to_csr", to_csr, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.4 A sparse product
#
# $y = Wx$ for the matrix $W$ (M, K) in compressed rows and $x$ (K, N). Row $i$ of $y$ is a sum of rows of
# $x$, each times a weight: only of those rows for which row $i$ of $W$ has one.


# %% build="sparse_matmul"
def sparse_matmul(values, indices, row_pointers, x):
    """W x, a float32 array (M, N): W (M, K) as to_csr gives it, x (K, N)."""
    ### BEGIN SOLUTION
    rows = len(row_pointers) - 1
    y = np.zeros((rows, x.shape[1]), np.float32)
    for i in range(rows):
        for e in range(row_pointers[i], row_pointers[i + 1]):
            y[i] += values[e] * x[indices[e]]
    return y
    ### END SOLUTION


# %% check="sparse_matmul"
lab.check("sparse_matmul", sparse_matmul)
### BEGIN HIDDEN TESTS
lab.check("sparse_matmul", sparse_matmul, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.5 Training on, with the zeros held
#
# A network loses answers when it is pruned, and the weights that are left can learn to make up for it. But
# the optimizer knows nothing of masks: after each of its steps, what was pruned has grown again.


# %% build="fine_tune"
def fine_tune(step, weights, masks, steps):
    """The weights after so many steps, the pruned ones 0 before each step and at the end.

    step: a function that takes a list of arrays and returns their list after one step of training.
    With steps=0, the weights are pruned and no more.
    """
    ### BEGIN SOLUTION
    weights = [w * mask for w, mask in zip(weights, masks)]
    for _ in range(steps):
        weights = [w * mask for w, mask in zip(step(weights), masks)]
    return weights
    ### END SOLUTION


# %% check="fine_tune"
lab.check("fine_tune", fine_tune)
### BEGIN HIDDEN TESTS
lab.check("fine_tune", fine_tune, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Your code prunes a network
#
# A network that reads handwritten digits, trained with all its weights:

# %%
images, labels = load_digits(size=32, split="train")
held_out, truth = load_digits(size=32, split="test")
loss = tt.CrossEntropyLoss()


def batches(seed):
    data = tt.TensorDataset(tt.Tensor(images), tt.Tensor(labels))
    return tt.DataLoader(data, batch_size=64, shuffle=True, seed=seed)


def accuracy(model):
    return (optimize(model).predict(held_out) == truth).mean()


mlp = MLPClassifier((1024, 512, 256, 10))
trainer = tt.Trainer(mlp, tt.Adam(mlp.parameters(), lr=1e-3), loss, progress=False)
for epoch in range(1 if quick else 12):
    trainer.train_epoch(batches(epoch))
mlp.eval()
print(f"dense: {accuracy(mlp):.1%} of {len(truth)} right (measured)")

# %% [markdown]
# Your masks on its first layer: half of it gone, 90 % and 98 %, and 90 % in blocks. A corner of it is shown,
# and the titles count what is gone there:

# %%
first = mlp.layers[1].weight.data
for sparsity in (0.5, 0.9, 0.98):
    display(viz.pruned_weights(first[480:544, :64], magnitude_mask(first, sparsity)[480:544, :64]))
display(viz.pruned_weights(first[480:544, :64], block_mask(first, 0.9)[480:544, :64], block=4))

# %% [markdown]
# And the connections between a few of its units, all of them and the tenth that is left:

# %%
first, second, third = (layer.weight.data for layer in mlp.layers[1::2])
corner = [first[480:492, :10], second[:10, :8], third[:8, :10]]
viz.connections(corner, keep=[magnitude_mask(w, 0.9) for w in corner])

# %% [markdown]
# ### Accuracy against sparsity
#
# The two hidden layers are pruned, which hold all but 2560 of the weights: at once, and then trained on for
# five epochs with your `fine_tune`. At 0 % nothing is pruned and the training goes on just as long, so that
# the comparison is a fair one.


# %%
def hidden_layers(model):
    return model.layers[1], model.layers[3]


def training_step(model):
    """A function that trains the model on one batch, from the hidden layers' weights that it is given."""
    optimizer = tt.Adam(model.parameters(), lr=1e-3)
    endless = (batch for epoch in range(100, 200) for batch in batches(epoch))

    def step(weights):
        put_into(model, weights)
        x, y = next(endless)
        optimizer.zero_grad()
        loss(model(x), y).backward()
        optimizer.step()
        return [layer.weight.data for layer in hidden_layers(model)]

    return step


def put_into(model, weights):
    for layer, w in zip(hidden_layers(model), weights):
        layer.weight.data[...] = w


def pruned(mask_of, sparsity, steps):
    """A copy of the network, pruned and trained on for so many steps."""
    model = copy.deepcopy(mlp)
    weights = [layer.weight.data for layer in hidden_layers(model)]
    masks = [mask_of(w, sparsity) for w in weights]
    put_into(model, fine_tune(training_step(model), weights, masks, steps))
    return model


steps = 3 if quick else 5 * len(batches(0))
sparsities = (0, 0.5, 0.8, 0.9, 0.95, 0.98)
curves, tuned = [], {}
for name, mask_of in (("single weights", magnitude_mask), ("4×1 blocks", block_mask)):
    models = {sparsity: pruned(mask_of, sparsity, steps) for sparsity in sparsities}
    tuned[name] = models[0.9]
    at_once = [100 * accuracy(pruned(mask_of, sparsity, 0)) for sparsity in sparsities]
    after = [100 * accuracy(model) for model in models.values()]
    percent = [100 * sparsity for sparsity in sparsities]
    curves += [
        {"name": f"{name}, at once", "x": percent, "y": at_once},
        {"name": f"{name}, fine-tuned", "x": percent, "y": after},
    ]
viz.lines(curves, title="Pruned digits network", x_label="% of weights removed", y_label="% right (measured)")

# %% [markdown]
# ## 5. Measure
#
# ### A mask alone
#
# Much published code multiplies by a mask, counts the zeros and calls the network compressed. What does a
# mask gain, when the kernel that follows does not know of it?


# %%
def masked_call(sparsity, width=512, batch=64):
    """Weights of which most are 0, in the dense kernel."""
    x, w = samples_and_weight(width, batch)
    packed = kernels.pack(w * magnitude_mask(w, sparsity))
    return lambda: kernels.linear(x, packed)


result = race(dense_call(), masked_call(0.9), seconds=lab.seconds, noise=noise, compare=False)
print(f"90 % zeros in the dense kernel: {result.ratio} as fast: {result.verdict} (measured)")

# %% [markdown]
# ### Your product in C
#
# Here are your loops in C, with the innermost down a column of `x`, so that each step jumps $n$ floats ahead.
# Run it. Then exchange the two inner loops, so that the innermost runs along a row of `x` and a row of `y`
# (which has to be 0 at first), and read what the compiler says. It runs in a process of its own, so no
# mistake can harm your notebook. Without a C compiler, go on: the Python path needs none.

# %%
# %load_ext tinytorch.course

# %% ckernel="sparse_matmul --name mine --size m=512,k=512,n=64,percent=10"
# #include <stdint.h>
#
# void sparse_matmul(const float *values, const int32_t *indices, const int32_t *row_pointers,
#                    const float *x, float *y, int m, int k, int n)
# {
#     for (int i = 0; i < m; i++)
#         for (int j = 0; j < n; j++) {
#             float sum = 0;
#             for (int e = row_pointers[i]; e < row_pointers[i + 1]; e++)
#                 sum += values[e] * x[indices[e] * n + j];
#             y[i * n + j] = sum;
#         }
# }

# %% [markdown]
# ### A kernel that never meets the zeros
#
# Your masks and your compressed rows, in tinytorch's sparse kernel. One row of $W$ makes one output, so it is
# the transpose of `w` that is stored. A call that is too small, one that is right, and a large one; 90 % of
# the weights are gone in each. Your guess is needed now.


# %%
def sparse_call(sparsity, width=512, batch=64):
    """Single weights, stored by your to_csr."""
    x, w = samples_and_weight(width, batch)
    values, indices, row_pointers = to_csr(np.ascontiguousarray((w * magnitude_mask(w, sparsity)).T))
    rows = kernels.SparseMatrix(values[:, None], indices, row_pointers, w.T.shape)
    return lambda: kernels.sparse_linear(x, rows)


def block_call(sparsity, width=512, batch=64):
    """4×1 blocks: one index for four weights."""
    x, w = samples_and_weight(width, batch)
    blocks = np.ascontiguousarray((w * block_mask(w, sparsity)).T)
    rows = kernels.SparseMatrix.from_dense(blocks, block=(4, 1))
    return lambda: kernels.sparse_linear(x, rows)


kinds = {"single weights": sparse_call, "4×1 blocks": block_call}
guess = lab.prediction("sparse")
for name, width, batch in (("too small", 16, 1), ("right", 512, 64), ("large", 1536, 256)):
    for kind, call in kinds.items():
        contenders = dense_call(width, batch), call(0.9, width, batch)
        result = race(*contenders, seconds=lab.seconds, noise=noise, compare=False)
        print(f"{name:>9} (width {width}, batch {batch}), {kind:>14}: {result.ratio} as fast (measured)")

# %% [markdown]
# ### From where on does it pay?

# %%
found = {
    kind: breakeven(
        lambda percent: dense_call(), lambda percent, call=call: call(percent / 100),
        [10, 30, 50, 70, 80, 90, 95], unit="%", scale="linear", seconds=lab.seconds / 2, noise=noise,
        compare=False,
    )
    for kind, call in kinds.items()
}  # fmt: skip
for kind, pays in found.items():
    print(f"{kind} pay from {pays.answer} zeros (measured); you said {guess['pays_from']:g} %")
display(
    viz.break_even(
        found["single weights"],
        guess=(guess["pays_from"], guess["ratio"]),
        title="512 × 512, 64 samples, single weights",
        x_label="% of weights removed",
        x_scale="linear",
    )
)
curves = [
    {
        "name": kind,
        "x": list(pays.sizes),
        "y": [race.ratio.value for race in pays.races],
        "low": [race.ratio.low for race in pays.races],
        "high": [race.ratio.high for race in pays.races],
    }
    for kind, pays in found.items()
]
fewer = {"name": "fewer products", "x": curves[0]["x"], "y": [100 / (100 - p) for p in curves[0]["x"]]}
display(
    viz.lines(
        [*curves, fewer | {"tag": "modelled"}],
        title="Blocks against single weights",
        x_label="% of weights removed",
        y_label="times as fast",
        y_scale="log",
        level=1.0,
    )
)

# %% [markdown]
# ## 6. Break it
#
# **Too few zeros**, from the gallery of optimizations that lose, raced here and now:

# %%
finding = gallery.run("scattered_sparsity", seconds=lab.seconds)
print(f"{finding} (measured)")

# %% [markdown]
# **In bytes, too.** A sparse matrix holds an index for each weight that is left. Below which sparsity is it
# *larger* than the dense one? Blocks need one index for four weights.

# %%
_, w = samples_and_weight(512, 1)
for percent in (10, 30, 50, 90):
    values, indices, row_pointers = to_csr((w * magnitude_mask(w, percent / 100)).T)
    yours = values.nbytes + indices.nbytes + row_pointers.nbytes
    blocks = kernels.SparseMatrix.from_dense((w * block_mask(w, percent / 100)).T, block=(4, 1)).nbytes
    print(f"{percent} % gone: {yours / w.nbytes:.2f} of the dense bytes, in blocks {blocks / w.nbytes:.2f}")

# %% [markdown]
# ## 7. Explain the gap
#
# With 90 % of the weights gone, there is a tenth of the products; and single weights gain less than 10×, less
# than blocks do at the same number of products. Why?
#
# - (a) the weights that are left are larger, and larger numbers take longer to multiply
# - (b) each weight that is left brings an index with it, and the row of `x` that it names has to be fetched
#   for it alone
# - (c) the zeros are still multiplied
# - (d) calling a sparse kernel from Python costs more than calling a dense one

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
# In one or two sentences: a 4×1 block does as many multiplications as four single weights. What does it do
# less of? And what is its price in the picture of accuracy?

# %% [markdown] answer="gap" points=1
# ### BEGIN SOLUTION
# It reads one index and one row of x for four weights, so loads and address computations fall to a quarter
# while the products stay. The price is freedom: small weights stay and large ones go with their neighbours,
# so it loses more answers at the same sparsity.
# ### END SOLUTION

# %% [markdown]
# ## 8. When, and when not
#
# | Prune when | Leave it when |
# |---|---|
# | a sparse kernel runs what you prune | the weights go to a dense kernel: a mask gains nothing |
# | most weights can go: beyond your break-even | a third of them can go |
# | they can go in blocks | each single weight matters: small networks, first and last layers |
# | there is data to train on with the zeros held | the network cannot be trained on |
#
# ## 9. The whole model
#
# The digits network with 90 % of its hidden weights gone, as your code pruned and fine-tuned it. `sparsify`
# races each layer and takes the sparse kernel where it wins; the last row has the mask and no sparse kernel.

# %%
kernels.set_num_threads(threads)
dense_tuned = pruned(magnitude_mask, 0, steps)
batch_64 = np.ascontiguousarray(held_out[:64])
forms = {"dense": optimize(dense_tuned)}
for kind, block in (("single weights", 1), ("4×1 blocks", 4)):
    forms[kind] = sparsify(tuned[kind], batch_64, block=block, seconds=lab.seconds / 4)
    print(f"{kind}:\n{decisions_table(forms[kind].decisions)}\n")
forms["a mask alone"] = optimize(tuned["single weights"])
for name, form in forms.items():
    right = (form.predict(held_out) == truth).mean()
    print(f"{name:>14}: {form.nbytes:>9,} bytes, {right:.1%} of {len(truth)} right (measured)")

# %%
for batch in (8, 64):
    few = np.ascontiguousarray(held_out[:batch])
    races = race_many(
        {name: (lambda form=form: form(few)) for name, form in forms.items()},
        seconds=3 * lab.seconds, noise=noise, compare=False,
    )  # fmt: skip
    for name in forms:
        result = races.between("dense", name)
        print(f"batch {batch:>2}, {name:>14}: {races.time(name)}, {result.ratio} as fast (measured)")

# %% [markdown]
# And the sparse product, too, can be yours, in NumPy and in C. The answers stay, the time does not:


# %%
def running_on(product):
    """The network with single weights, its sparse layers computed by a function of W and x."""

    def sparse_linear(x, w, bias, activation):
        y = product(w, np.ascontiguousarray(x.T)).T + bias
        return np.maximum(y, 0) if activation == "relu" else y

    def call():
        with kernels.use(sparse_linear=sparse_linear):
            return forms["single weights"](batch_64)

    return call


def in_numpy(w, x):
    return sparse_matmul(w.values[:, 0], w.indices, w.row_pointers, x)


for name, product in (("NumPy", in_numpy), ("C", mine)):
    if product is None:  # there is no compiler
        continue
    answers = forms["single weights"](batch_64).argmax(axis=1)
    agree = (running_on(product)().argmax(axis=1) == answers).mean()
    result = race(
        lambda: forms["single weights"](batch_64), running_on(product), repeats={"a": 1, "b": 1}, rounds=6
    )
    print(f"on your {name}: {agree:.0%} of the answers agree, at {result.ratio} of the speed (measured)")

# %% [markdown]
# ### A convolutional network, too
#
# Pruned by tinytorch's `prune`, which compares the weights of all layers, so that each loses as many as it
# can bear; `masks.wrap` does what your `fine_tune` does. Look at the widest layer's gain, and at the whole
# network's.


# %%
def train(model, optimizer, epochs, seed):
    trainer = tt.Trainer(model, optimizer, loss, progress=False)
    for epoch in range(1 if quick else epochs):
        trainer.train_epoch(batches(seed + epoch))
    model.eval()


cnn = DigitsCNN()
train(cnn, tt.Adam(cnn.parameters(), lr=2e-3), epochs=4, seed=0)
pruned_cnn = copy.deepcopy(cnn)
masks = prune(pruned_cnn, 0.9)
train(pruned_cnn, masks.wrap(tt.Adam(pruned_cnn.parameters(), lr=2e-3)), epochs=4, seed=50)
dense, sparse = optimize(cnn), sparsify(pruned_cnn, batch_64, seconds=lab.seconds / 4)
print(decisions_table(sparse.decisions))
for name, form in (("dense", dense), ("sparse", sparse)):
    right = (form.predict(held_out) == truth).mean()
    print(f"{name:>6}: {form.nbytes:>9,} bytes, {right:.1%} of {len(truth)} right (measured)")
result = race(lambda: dense(batch_64), lambda: sparse(batch_64), seconds=lab.seconds, compare=False)
print(f"the whole network, batch 64: {result.ratio} as fast (measured)")

# %% [markdown]
# A convolution uses each of its weights for every pixel, a linear layer only once: the layer that loses most
# weights does a few percent of the work. Amdahl's law has the rest: the network gains what its *slow* layers
# gain.
#
# ## 10. In production
#
# - **The method** is that of Han et al., [Learning both weights and
#   connections](https://arxiv.org/abs/1506.02626) (2015): train, prune, train on. Zhu and Gupta,
#   [To prune, or not to prune](https://arxiv.org/abs/1710.01878) (2017), raise the sparsity step by step.
# - **Phones**: [XNNPACK](https://github.com/google/XNNPACK) has sparse kernels for 1×1 convolutions, with
#   blocks of 2 or 4 outputs as yours, and takes them where more than two thirds of the weights are zero. The
#   method: Elsen et al., [Fast sparse ConvNets](https://arxiv.org/abs/1911.09723) (2020).
# - **GPUs** from NVIDIA's Ampere on have an instruction for 2 zeros in every 4 weights: Mishra et al.,
#   [Accelerating sparse deep neural networks](https://arxiv.org/abs/2104.08378) (2021).
# - **PyTorch**'s [`torch.nn.utils.prune`](https://docs.pytorch.org/tutorials/intermediate/pruning_tutorial.html)
#   is a mask alone: it is for finding out what accuracy is lost, and multiplies as many numbers as before.
# - **Language models** are pruned once, without training on, layer by layer: Frantar and Alistarh,
#   [SparseGPT](https://arxiv.org/abs/2301.00774); Sun et al., [Wanda](https://arxiv.org/abs/2306.11695).
# - **Whole channels** instead of single weights leave a smaller dense network that every kernel runs:
#   `tinytorch.pruning.remove_units`.
