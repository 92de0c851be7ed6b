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
# # Lab 17 · Quantization
#
# **The question.** A network's weights are 32-bit floats. What is gained, and what is lost, when it computes
# in 8-bit integers instead?
#
# **The cost model, in one line.** A linear layer with $B$ samples and a $K \times N$ weight does $2BKN$
# operations and reads at least $KN$ weights: $4KN$ bytes as floats, $KN$ bytes as integers.
#
# So: up to 4× where reading weights decides. Where arithmetic decides, it depends on how many 8-bit products
# one instruction does. And there is new work: the input must become integers, $BK$ more steps.
#
# You will build an observer, a quantizer, a calibration and an integer layer, run two real networks on them,
# and measure where they win and where they lose. It takes about 45 minutes.

# %%
import os

import numpy as np

import tinytorch as tt
from tinytorch import kernels, viz
from tinytorch.acceleration import optimize
from tinytorch.course import open_lab
from tinytorch.datasets import load_digits
from tinytorch.experiments import gallery
from tinytorch.models.cnn import DigitsCNN
from tinytorch.timing import breakeven, noise_floor, race, race_many

lab = open_lab(17)
np.random.seed(0)
kernels.cpu_info()

# %% [markdown]
# ## 1. Predict
#
# A linear layer at batch 1, as wide as it is high: $N = K$. Float32 at its best against INT8 at its best, the
# quantizing of the input included.
#
# - `ratio`: at width 2048, how many times as fast is INT8?
# - `pays_from`: from which width on is it faster at all?
#
# Write `lab.predict("int8", ratio=…, pays_from=…)` with your two numbers. A wrong guess costs nothing, and no
# guess teaches nothing. Once you have measured, it stays what it was.

# %% predict="int8"
### BEGIN SOLUTION
lab.predict("int8", ratio=4, pays_from=64)
### END SOLUTION

# %% [markdown]
# ## 2. The baseline, and its noise
#
# What does this machine report for two *identical* functions? A gain smaller than this is no gain.


# %%
def float32_call(batch, width):
    """A layer at its best in float32: weights packed once, before the clock starts."""
    rng = np.random.default_rng(width)
    x = rng.random((batch, width), dtype=np.float32)
    w = rng.standard_normal((width, width), dtype=np.float32) / np.float32(np.sqrt(width))
    packed, bias = kernels.pack(w), np.zeros(width, np.float32)
    return lambda: kernels.linear(x, packed, bias)


noise, same = noise_floor(float32_call(1, 1024), seconds=lab.seconds)
print(f"the same layer against itself: {same.ratio}, so anything within {noise:.3f}× is noise (measured)")

# %% [markdown]
# ## 3. Build
#
# ### 3.1 An observer
#
# An integer $q$ stands for the float $x \approx s \cdot (q - z)$, with a *scale* $s$ and a *zero point* $z$.
# `uint8` has 256 values, so 255 steps must cover the range from `low` to `high`:
#
# $$s = \frac{\text{high} - \text{low}}{255} \qquad z = \text{round}\left(\frac{-\text{low}}{s}\right)$$
#
# The range always includes 0, even if all values lie above it: zeros are everywhere (padding, ReLU), and they
# must stay exactly 0.


# %% build="observer"
class Observer:
    """Remembers the smallest and the largest value that passed, over any number of batches."""

    def __init__(self):
        ### BEGIN SOLUTION
        self.low = self.high = 0.0
        ### END SOLUTION

    def observe(self, x):
        """Take note of an array of any shape."""
        ### BEGIN SOLUTION
        self.low = min(self.low, float(x.min()))
        self.high = max(self.high, float(x.max()))
        ### END SOLUTION

    def parameters(self):
        """(scale, zero_point) for uint8. The scale is above 0 even if only zeros were seen."""
        ### BEGIN SOLUTION
        scale = (self.high - self.low) / 255
        if scale == 0:
            return 1.0, 0
        return scale, int(np.clip(round(-self.low / scale), 0, 255))
        ### END SOLUTION


# %% check="observer"
lab.check("observer", Observer)
### BEGIN HIDDEN TESTS
lab.check("observer", Observer, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.2 A quantizer
#
# $q = \text{clamp}(\text{round}(x / s) + z)$, rounding half to even, and back: $x \approx s \cdot (q - z)$.
#
# With `axis=None` there is one scale for the whole array. With `axis=1`, say, `scale` and `zero_point` hold
# one number for each index along axis 1. `dtype` is `"uint8"` or `"int8"`; `np.iinfo(dtype)` knows the
# limits.


# %% build="quantize"
def quantize(x, scale, zero_point, axis=None, dtype="uint8"):
    """Floats to integers of `dtype`."""
    ### BEGIN SOLUTION
    scale, zero_point = along(scale, axis, x.ndim), along(zero_point, axis, x.ndim)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(x / scale) + zero_point, limits.min, limits.max).astype(dtype)
    ### END SOLUTION


def dequantize(q, scale, zero_point, axis=None):
    """Integers back to float32."""
    ### BEGIN SOLUTION
    scale, zero_point = along(scale, axis, q.ndim), along(zero_point, axis, q.ndim)
    return (q.astype(np.int32) - zero_point) * np.asarray(scale, np.float32)
    ### END SOLUTION


### BEGIN SOLUTION
def along(values, axis, ndim):
    """Values that broadcast along an axis of an array with so many axes."""
    values = np.asarray(values)
    return values if axis is None else values.reshape([-1 if i == axis % ndim else 1 for i in range(ndim)])


### END SOLUTION


# %% check="quantize"
lab.check("quantize", quantize, dequantize)
### BEGIN HIDDEN TESTS
lab.check("quantize", quantize, dequantize, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.3 Weights: one scale for each output
#
# Weights are quantized once, so they can afford more: a scale for each output column of $w$ (in, out), the
# largest $|w|$ of that column over 127. They are symmetric, with zero point 0, so that the products need one
# correction less.


# %% build="quantize_weight"
def quantize_weight(w):
    """(q, scale): int8 (in, out), and float32 (out,), one for each column. A column of zeros gets scale 1."""
    ### BEGIN SOLUTION
    largest = np.abs(w).max(axis=0)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return quantize(w, scale, np.zeros(len(scale), np.int32), axis=1, dtype="int8"), scale
    ### END SOLUTION


# %% check="quantize_weight"
lab.check("quantize_weight", quantize_weight)
### BEGIN HIDDEN TESTS
lab.check("quantize_weight", quantize_weight, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.4 The product of integers
#
# uint8 times int8, summed exactly in int32. NumPy keeps the dtype of its inputs, and a byte holds 256 values.


# %% build="matmul_int8"
def matmul_int8(a, b):
    """a (M, K) uint8 or int8, b (K, N) int8: their product, int32 (M, N)."""
    ### BEGIN SOLUTION
    return a.astype(np.int32) @ b.astype(np.int32)
    ### END SOLUTION


# %% check="matmul_int8"
lab.check("matmul_int8", matmul_int8)
### BEGIN HIDDEN TESTS
lab.check("matmul_int8", matmul_int8, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.5 An integer layer
#
# Integers in, integers out. With your product:
#
# $$\text{acc} = (x_q - z_x) \cdot w_q \qquad y = s_x s_w \cdot \text{acc} + \text{bias} \qquad
# y_q = \text{clamp}\left(\text{round}\left(\frac{y}{s_y}\right) + z_y\right)$$
#
# $x_q \cdot w_q - z_x \cdot \sum_k w_q$ gives the same sums and lets $x_q$ stay bytes. Going from the sums to
# the next layer's bytes is called *requantization*: one multiplication for each output, not for each weight.
#
# Something to notice: if $z_y = 0$, nothing below 0 survives the clamp. That is ReLU, for free.


# %% build="linear_int8"
def linear_int8(x_q, x_scale, x_zero_point, w_q, w_scale, bias, out_scale, out_zero_point):
    """x_q (B, in) uint8, w_q (in, out) int8, w_scale and bias (out,): the layer's output, uint8 (B, out)."""
    ### BEGIN SOLUTION
    acc = matmul_int8(x_q, w_q) - x_zero_point * w_q.sum(axis=0, dtype=np.int32)
    y = acc * (x_scale * w_scale) + bias
    return quantize(y, out_scale, out_zero_point)
    ### END SOLUTION


# %% check="linear_int8"
lab.check("linear_int8", linear_int8)
### BEGIN HIDDEN TESTS
lab.check("linear_int8", linear_int8, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.6 Calibration
#
# Weights are known, activations are not: run some samples through the float network and watch what passes.


# %% build="calibrate"
def calibrate(layers, batches):
    """[(scale, zero_point), …]: one for the input and one for each layer's output.

    layers: functions from array to array, to be called one after the other; batches: arrays of samples.
    """
    ### BEGIN SOLUTION
    observers = [Observer() for _ in range(len(layers) + 1)]
    for x in batches:
        observers[0].observe(x)
        for layer, observer in zip(layers, observers[1:]):
            x = layer(x)
            observer.observe(x)
    return [observer.parameters() for observer in observers]
    ### END SOLUTION


# %% check="calibrate"
lab.check("calibrate", calibrate)
### BEGIN HIDDEN TESTS
lab.check("calibrate", calibrate, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Your code runs a network
#
# A network that reads handwritten digits, first in float32:

# %%
images, labels = load_digits(size=32, split="train")
held_out, truth = load_digits(size=32, split="test")
epochs = 1 if os.environ.get("TINYTORCH_QUICK") else 5


def train(model, lr):
    data = tt.TensorDataset(tt.Tensor(images), tt.Tensor(labels))
    loader = tt.DataLoader(data, batch_size=32, shuffle=True, seed=0)
    trainer = tt.Trainer(model, tt.Adam(model.parameters(), lr=lr), tt.CrossEntropyLoss(), progress=False)
    for _ in range(epochs):
        trainer.train_epoch(loader)
    model.eval()
    return model


hidden, output = tt.Linear(1024, 128), tt.Linear(128, 10)
mlp = train(tt.Sequential(tt.Flatten(), hidden, tt.ReLU(), output), lr=1e-3)
weights = [(layer.weight.data, layer.bias.data) for layer in (hidden, output)]


def float_layers(weights):
    (w1, b1), (w2, b2) = weights
    return [lambda x: np.maximum(x @ w1 + b1, 0), lambda x: x @ w2 + b2]


def accuracy(answers):
    return (answers == truth).mean()


flat, flat_train = held_out.reshape(len(held_out), -1), images.reshape(len(images), -1)
first, second = float_layers(weights)
print(f"float32: {accuracy(second(first(flat)).argmax(axis=1)):.1%} of {len(truth)} right (measured)")

# %% [markdown]
# And now in integers from end to end, with nothing but your functions:


# %%
def predict_int8(weights, x, quantize_weight=quantize_weight):
    scales = calibrate(float_layers(weights), [flat_train[:256]])
    q = quantize(x, *scales[0])
    for (w, bias), before, after in zip(weights, scales, scales[1:]):
        q = linear_int8(q, *before, *quantize_weight(w), bias, *after)
    return q.argmax(axis=1)


print(f"your INT8: {accuracy(predict_int8(weights, flat)):.1%} of {len(truth)} right (measured)")

# %% [markdown]
# ## 5. Measure
#
# NumPy has no fast product of integers, so your layer is right and slow:

# %%
scales = calibrate(float_layers(weights), [flat_train[:256]])
x_q, (w, bias) = quantize(flat[:64], *scales[0]), weights[0]
w_q, w_scale = quantize_weight(w)
packed = kernels.pack_int8(w_q, w_scale)


def in_numpy():
    return linear_int8(x_q, *scales[0], w_q, w_scale, bias, *scales[1])


def in_the_kernel():
    out_scale, out_zero_point = scales[1]
    return kernels.linear_int8(
        x_q, *scales[0], packed, bias, out_scale=out_scale, out_zero_point=out_zero_point
    )


off = np.abs(in_numpy().astype(int) - in_the_kernel()).max()
result = race(in_numpy, in_the_kernel, seconds=lab.seconds, noise=noise)
print(f"the kernel's integers differ from yours by at most {off}; it is {result.ratio} as fast (measured)")

# %% [markdown]
# ### Your product in C
#
# This is `matmul_int8` as plain loops. It is right; run it, and see what it is worth. Then exchange the two
# inner loops, so that the innermost runs along a row of `b` and a row of `c` (which then has to be 0 at
# first), and read what the compiler says about them. It runs in a process of its own, so no mistake can harm
# your notebook. Without a C compiler, go on: the Python path needs none.

# %%
# %load_ext tinytorch.course

# %% ckernel="matmul_int8 --name mine --size m=64,k=1024,n=128"
# #include <stdint.h>
#
# void matmul_int8(const uint8_t *a, const int8_t *b, int32_t *c, int m, int k, int n)
# {
#     for (int i = 0; i < m; i++)
#         for (int j = 0; j < n; j++) {
#             int32_t sum = 0;
#             for (int p = 0; p < k; p++)
#                 sum += a[i * k + p] * b[p * n + j];
#             c[i * n + j] = sum;
#         }
# }

# %% [markdown]
# ### Where turning integers back into floats costs most
#
# Much published code stores INT8 and multiplies floats: `dequantize`, then an ordinary product, on every
# call. It saves bytes on disk. What does it cost?


# %%
def naive_call(batch, width):
    """INT8 weights at rest, float32 weights made of them on every call."""
    rng = np.random.default_rng(width)
    x = rng.random((batch, width), dtype=np.float32)
    w = rng.standard_normal((width, width), dtype=np.float32) / np.float32(np.sqrt(width))
    (w_q, w_scale), bias = quantize_weight(w), np.zeros(width, np.float32)
    zeros = np.zeros(width, np.int32)
    return lambda: kernels.linear(x, kernels.dequantize(w_q, w_scale, zeros, axis=1), bias)


for batch in (1, 8, 64):
    result = race(float32_call(batch, 1024), naive_call(batch, 1024), seconds=lab.seconds, noise=noise)
    print(f"batch {batch:>3}, width 1024: naive INT8 is {result.ratio} as fast: {result.verdict} (measured)")

# %% [markdown]
# Dequantizing touches all $KN$ weights whatever the batch; the product touches them $B$ times. So it costs
# most where INT8 promised most: at batch 1.
#
# ### Integers all the way, at three sizes
#
# Your `quantize_weight`, and the kernel that computes in integers. Your guess is needed now.


# %%
def int8_call(batch, width):
    """Quantize the input, multiply integers, scale once."""
    rng = np.random.default_rng(width)
    x = rng.random((batch, width), dtype=np.float32)
    w = rng.standard_normal((width, width), dtype=np.float32) / np.float32(np.sqrt(width))
    packed, bias = kernels.pack_int8(*quantize_weight(w)), np.zeros(width, np.float32)
    scale = 1 / 255
    return lambda: kernels.linear_int8(kernels.quantize(x, scale, 0, dtype="uint8"), scale, 0, packed, bias)


guess = lab.prediction("int8")
for name, batch, width in (("too small", 1, 64), ("right", 1, 2048), ("large", 256, 1024)):
    result = race(float32_call(batch, width), int8_call(batch, width), seconds=lab.seconds, noise=noise)
    print(f"{name:>9} (batch {batch}, width {width}): {result.ratio} as fast: {result.verdict} (measured)")

# %% [markdown]
# ### From where on does it pay?

# %%
pays = breakeven(
    lambda width: float32_call(1, int(width)), lambda width: int8_call(1, int(width)),
    [32, 64, 128, 256, 512, 1024, 2048], step=16, seconds=lab.seconds / 4, noise=noise,
)  # fmt: skip
print(f"INT8 pays from width {pays.answer} (measured); you said {guess['pays_from']:g}")
viz.break_even(
    pays, guess=(guess["pays_from"], guess["ratio"]), title="A linear layer at batch 1", x_label="width"
)

# %% [markdown]
# ## 6. Break it
#
# **Too small, and naive.** Two cases from the gallery of optimizations that lose, raced here and now:

# %%
for name in ("int8_in_a_tiny_layer", "dequantizing_on_every_call"):
    finding = gallery.run(name, seconds=lab.seconds)
    print(f"{finding} (measured)\n  {finding.why}")

# %% [markdown]
# **One outlier.** The network below computes what yours computes: its most active hidden unit is 200 times as
# large, and the weights that read it are 200 times as small. ReLU lets that pass. Then its weights are
# quantized with a single scale for the whole matrix, and with one for each column.

# %%
unit = first(flat_train[:256]).mean(axis=0).argmax()


def with_outlier(weights, factor=200):
    (w1, b1), (w2, b2) = [(w.copy(), b.copy()) for w, b in weights]
    w1[:, unit] *= factor
    b1[unit] *= factor
    w2[unit] /= factor
    return [(w1, b1), (w2, b2)]


def one_scale(w):
    """Per tensor: the largest weight of all decides."""
    scale = np.full(w.shape[1], np.abs(w).max() / 127, np.float32)
    return quantize(w, scale, np.zeros(len(scale), np.int32), axis=1, dtype="int8"), scale


outlier = with_outlier(weights)
large, read = float_layers(outlier)
print("right answers (measured)")
print(f"  float32, with the outlier:                {accuracy(read(large(flat)).argmax(axis=1)):.1%}")
print(f"  INT8, one scale, without the outlier:     {accuracy(predict_int8(weights, flat, one_scale)):.1%}")
print(f"  INT8, one scale, with the outlier:        {accuracy(predict_int8(outlier, flat, one_scale)):.1%}")
print(f"  INT8, scales per column, with the outlier: {accuracy(predict_int8(outlier, flat)):.1%}")

# %% [markdown]
# Two things broke. First the *weights*: with one scale, the others are only a few steps wide. A scale for
# each column cures that:

# %%
others = np.arange(128) != unit
for name, quantizer in (("one scale", one_scale), ("scales per column", quantize_weight)):
    q, scale = quantizer(outlier[0][0])
    off = np.abs(q * scale - outlier[0][0])[:, others].mean() / np.abs(outlier[0][0][:, others]).mean()
    print(f"{name:>17}: the other units' weights are off by {off:.1%} of their size (measured)")

# %% [markdown]
# Then the *activations*: all hidden units share one scale, and the large one takes nearly all of its 256
# steps. If scales per column still lose answers above, this is why. It happens in large language models,
# where a few channels are a hundred times as large as the others. The cure is `with_outlier` backwards:
# divide the channel by a factor, and multiply the weights that read it (SmoothQuant).

# %% [markdown]
# ## 7. Explain the gap
#
# At batch 1 a wide layer gains about as much as its bytes shrink, or more if only the small one fits into the
# cache; at batch 256 less. A layer does $2BKN$ operations, and its weights have $4KN$ bytes in float32: $B/2$
# operations for each byte. What decides the time of a wide float32 layer **at batch 1**?
#
# - (a) how many multiplications the CPU can do in a second
# - (b) how fast its weights can be read from memory
# - (c) Python's price for a call
# - (d) the quantizing of the input

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
# In one or two sentences: where does the gain at batch 256 end, and why there?

# %% [markdown] answer="gap" points=1
# ### BEGIN SOLUTION
# With 256 samples each weight is used 256 times once it has been read, so arithmetic decides, not bytes. The
# gain is the ratio of 8-bit to float products that one instruction does: with AVX2, bytes are widened to 16
# bits, so at most 2×; with VNNI or dotprod instructions, up to 4×.
# ### END SOLUTION

# %% [markdown]
# ## 8. When, and when not
#
# | Use INT8 when | Leave it when |
# |---|---|
# | weights are large and batches small: fewer bytes to read | layers are small: calls outweigh products |
# | many layers in a row stay in integers | each layer turns back to floats |
# | the CPU has 8-bit products (VNNI, dotprod) | a few channels are far larger than the others |
# | calibration saw what will come | the data will move away from what calibration saw |
#
# ## 9. The whole model
#
# A convolutional network with batch normalization, in three forms. The INT8 form is made by tinytorch's
# `quantize`, *on your kernels*: `kernels.use` puts your `quantize` in the place of the built-in one, so its
# weights are the integers that your code chose.

# %%
from tinytorch.quantization import quantize as quantize_model
from tinytorch.quantization import quantize_naive

cnn = train(DigitsCNN(), lr=2e-3)
with kernels.use(quantize=quantize):
    yours = quantize_model(cnn, images[:256])
forms = {"float32": optimize(cnn), "naive INT8": quantize_naive(cnn), "INT8, your quantizer": yours}
for name, form in forms.items():
    right = accuracy(form.predict(held_out))
    print(f"{name:>20}: {form.nbytes:>9,} bytes, {right:.1%} of {len(truth)} right (measured)")

# %%
for batch in (1, 64):
    samples = np.ascontiguousarray(held_out[:batch])
    races = race_many(
        {name: (lambda form=form: form(samples)) for name, form in forms.items()},
        seconds=3 * lab.seconds, noise=noise,
    )  # fmt: skip
    for name in forms:
        result = races.between("float32", name)
        print(f"batch {batch:>2}, {name:>20}: {races.time(name)}, {result.ratio} as fast (measured)")

# %% [markdown]
# And the product of integers, too, can be yours, in NumPy and in C. The answers stay, the time does not:

# %%
few = np.ascontiguousarray(held_out[:16])


def running_on(product):
    def call():
        with kernels.use(quantize=quantize, matmul_int8=product):
            return yours(few)

    return call


for name, product in (("NumPy", matmul_int8), ("C", mine)):
    if product is None:  # there is no compiler
        continue
    agree = (running_on(product)().argmax(axis=1) == yours(few).argmax(axis=1)).mean()
    result = race(lambda: yours(few), running_on(product), repeats={"a": 1, "b": 1}, rounds=5)
    print(f"on your {name}: {agree:.0%} of the answers agree, at {result.ratio} of the speed (measured)")

# %% [markdown]
# ## 10. In production
#
# - **The method** is that of Jacob et al., [Quantization and training of neural networks for efficient
#   integer-arithmetic-only inference](https://arxiv.org/abs/1712.05877) (2018). TensorFlow Lite was made for
#   it; its [8-bit specification](https://ai.google.dev/edge/litert/models/quantization_spec) has per-axis
#   int8 weights, symmetric, as yours are.
# - **ONNX Runtime** quantizes statically (calibrated, as here) or dynamically (a scale for each input as it
#   comes): [its guide](https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html).
# - **PyTorch** has moved quantization to [torchao](https://github.com/pytorch/ao); on CPUs, FBGEMM and oneDNN
#   do the products.
# - **Hardware**: x86 has 8-bit dot products since AVX-512 VNNI (2019), ARM since the dot-product extension of
#   ARMv8.2. `kernels.cpu_info()` above says what yours has.
# - **Language models** are read one token at a time, at batch 1, so weights alone are quantized, often to 4
#   bits in groups: [llama.cpp](https://github.com/ggml-org/llama.cpp). Outliers in their activations:
#   Dettmers et al., [LLM.int8()](https://arxiv.org/abs/2208.07339); Xiao et al.,
#   [SmoothQuant](https://arxiv.org/abs/2211.10438).
