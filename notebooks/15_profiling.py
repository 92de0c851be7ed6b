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
# # Lab 15 · Profiling
#
# **The question.** A network is too slow. Which of its layers should become faster, and what will the whole
# gain from that?
#
# **The cost model, in one line.** A layer of $W$ operations that moves $Q$ bytes takes at least
# $\max(W / \text{peak},\ Q / \text{bandwidth})$; if it is the share $p$ of the whole and becomes $f$ times
# faster, the whole becomes $1 / (1 - p + p / f)$ times faster.
#
# You will build a timer that can be trusted, counters of operations and bytes, a roofline and Amdahl's
# estimate; profile a real network with them, put a faster layer in, and see whether you were right. It takes
# about 45 minutes.

# %%
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np

import tinytorch as tt
from tinytorch import kernels, profiling, viz
from tinytorch.acceleration import optimize
from tinytorch.course import open_lab
from tinytorch.datasets import load_digits
from tinytorch.experiments import gallery
from tinytorch.kernels import lessons
from tinytorch.quantities import Measured
from tinytorch.timing import noise_floor, race, race_many

lab = open_lab(15)
tt.manual_seed(0)
kernels.set_num_threads(1)  # one thread: its ceilings are easier to understand
kernels.cpu_info()

# %% [markdown]
# ## 1. Predict
#
# The network reads handwritten digits, 32 at a time. Somebody wrote its two convolutions in C: the image is
# unfolded into a matrix, which is then multiplied in plain loops. All other layers are tinytorch's.
#
# | number | layer | parameters |
# |---|---|---|
# | 0 | `Conv2d(1, 16, 5, padding=2)` on 32 × 32 pixels | 416 |
# | 1, 2 | ReLU, and pooling to 16 × 16 pixels | |
# | 3 | `Conv2d(16, 32, 3, padding=1)` on 16 × 16 pixels | 4,640 |
# | 4, 5, 6 | ReLU, pooling to 8 × 8 pixels, flattening | |
# | 7 | `Linear(2048, 1024)` | 2,098,176 |
# | 8 | ReLU | |
# | 9 | `Linear(1024, 10)` | 10,250 |
#
# - `layer`: the number of the layer that takes most time
# - `gain`: how many times as fast is the whole network, once that layer is 4 times as fast?
#
# Write `lab.predict("slowest", layer=…, gain=…)` with your two numbers. A wrong guess costs nothing, and no
# guess teaches nothing. Once you have measured, it stays what it was.

# %% predict="slowest"
### BEGIN SOLUTION
lab.predict("slowest", layer=7, gain=3)
### END SOLUTION

# %% [markdown]
# ## 2. The baseline, and its noise
#
# The network, trained, and what this machine reports when it is raced against *itself*. A gain smaller than
# this is no gain.

# %%
images, labels = load_digits(size=32, split="train")
held_out, truth = load_digits(size=32, split="test")


def train(model, epochs):
    data = tt.TensorDataset(tt.Tensor(images), tt.Tensor(labels))
    loader = tt.DataLoader(data, batch_size=32, shuffle=True, seed=0)
    trainer = tt.Trainer(model, tt.Adam(model.parameters(), lr=1e-3), tt.CrossEntropyLoss(), progress=False)
    for _ in range(epochs):
        trainer.train_epoch(loader)
    return model.eval()


trained = train(
    tt.Sequential(
        tt.Conv2d(1, 16, 5, padding=2), tt.ReLU(), tt.MaxPool2d(2),
        tt.Conv2d(16, 32, 3, padding=1), tt.ReLU(), tt.MaxPool2d(2), tt.Flatten(),
        tt.Linear(2048, 1024), tt.ReLU(), tt.Linear(1024, 10),
    ),
    epochs=1 if os.environ.get("TINYTORCH_QUICK") else 3,
)  # fmt: skip


class StepConv2d(tt.Module):
    """A trained convolution, computed by one of the steps in which C programmers learn to write it."""

    def __init__(self, conv, step):
        self.conv, self.step = conv, step

    def forward(self, x):
        y = self.step(x.data, self.conv.weight.data, padding=self.conv.padding)
        return tt.Tensor(y + self.conv.bias.data[:, None, None])


steps = {step.name: step for step in lessons.conv2d}


def network(**replaced):
    """The trained network with some layers replaced: network(layer3=…). Convolutions are "unfolded"."""
    layers = [
        StepConv2d(layer, steps["unfolded"]) if isinstance(layer, tt.Conv2d) else layer for layer in trained
    ]
    for name, layer in replaced.items():
        layers[int(name.removeprefix("layer"))] = layer
    return tt.Sequential(*layers).eval()


model, x = network(), tt.Tensor(held_out[:32])
with tt.no_grad():
    noise, same = noise_floor(lambda: model(x), seconds=lab.seconds)
print(f"the network against itself: {same.ratio}, so anything within {noise:.3f}× is noise (measured)")

# %% [markdown]
# ## 3. Build
#
# ### 3.1 A timer
#
# The first calls are slow: memory is fetched, caches are empty. So `call` runs `warmup` times before anything
# is timed. Then come `rounds` samples. A sample calls `repeats` times between two readings of the clock, for
# a clock has a resolution, and reading it takes time too.
#
# What has to be prepared anew for each sample, such as caches to be emptied, is done by `set_up`; its time
# does not count.


# %% build="samples"
def samples(call, clock, warmup=3, rounds=30, repeats=1, set_up=None):
    """Nanoseconds that one call() takes: a list with one number for each round, from `repeats` calls each.

    clock() tells the time in nanoseconds. set_up(), if there is one, runs once at the start of each round.
    """
    ### BEGIN SOLUTION
    for _ in range(warmup):
        call()
    times = []
    for _ in range(rounds):
        if set_up is not None:
            set_up()
        start = clock()
        for _ in range(repeats):
            call()
        times.append((clock() - start) / repeats)
    return times
    ### END SOLUTION


# %% check="samples"
lab.check("samples", samples)
### BEGIN HIDDEN TESTS
lab.check("samples", samples, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.2 One number, and how far to trust it
#
# Whatever disturbs a machine makes a sample longer, never shorter. So the **mean** follows the worst
# disturbance, and the **minimum** shows the luckiest moment, and gets smaller the longer one tries. The
# **median** is what a user meets.
#
# How far off can it be? A sample lies below the *true* median as often as a coin shows heads. If the true
# median lay below all $n$ samples, $n$ throws would have been tails, which has the chance $2^{-n}$. In
# general, with the samples sorted and counted from 0, the true median lies below sample $k$ with the chance
# of at most $k$ heads in $n$ throws:
#
# $$\text{tail}(k) = \sum_{i=0}^{k} \binom{n}{i} \, 2^{-n}$$
#
# Take the largest $k$ whose tail is at most $(1 - \text{confidence}) / 2$. The interval goes from sample $k$
# to sample $n - 1 - k$. With five samples not even $k = 0$ is allowed at 95%: nothing can be said. (Whence
# this is: the sign test, which assumes nothing about how times are distributed.)


# %% build="interval"
def interval(times, confidence=0.95):
    """(median, low, high). ValueError if there are too few samples for an interval."""
    ### BEGIN SOLUTION
    from math import comb

    ordered = np.sort(times)
    n, k = len(ordered), -1
    tail = comb(n, 0) / 2**n
    while tail <= (1 - confidence) / 2:
        k += 1
        tail += comb(n, k + 1) / 2**n
    if k < 0:
        raise ValueError("too few samples for an interval")
    return np.median(ordered), ordered[k], ordered[n - 1 - k]
    ### END SOLUTION


# %% check="interval"
lab.check("interval", interval)
### BEGIN HIDDEN TESTS
lab.check("interval", interval, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.3 Operations and bytes of a layer
#
# Times say how long, not how well. For that, count what has to be done at least:
#
# - **operations**: two for each multiply-add, as is usual. Adding the bias is not counted.
# - **bytes**: input, weights, bias and output, each moved once, 4 bytes for each number.
#
# A convolution's output has $\lfloor (\text{side} + 2 \cdot \text{padding} - \text{kernel}) / \text{stride}
# \rfloor + 1$ rows and columns, and each output is a sum over `channels` · `kernel`² products.


# %% build="layer_work"
def linear_work(batch, inputs, outputs):
    """(operations, bytes) of x (batch, inputs) @ w (inputs, outputs) + bias."""
    ### BEGIN SOLUTION
    moved = 4 * (batch * inputs + inputs * outputs + outputs + batch * outputs)
    return 2 * batch * inputs * outputs, moved
    ### END SOLUTION


def conv2d_work(batch, channels, height, width, filters, kernel, stride=1, padding=0):
    """(operations, bytes) of a convolution of x (batch, channels, height, width) with so many filters.

    A filter is (channels, kernel, kernel) and has a bias.
    """
    ### BEGIN SOLUTION
    rows = (height + 2 * padding - kernel) // stride + 1
    columns = (width + 2 * padding - kernel) // stride + 1
    inputs = batch * channels * height * width
    weights = filters * channels * kernel**2 + filters
    results = batch * filters * rows * columns
    return 2 * results * channels * kernel**2, 4 * (inputs + weights + results)
    ### END SOLUTION


# %% check="layer_work"
lab.check("layer_work", linear_work, conv2d_work)
### BEGIN HIDDEN TESTS
lab.check("layer_work", linear_work, conv2d_work, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.4 Attention
#
# Each of $T$ positions is compared with each: $q k^T$ gives $T \times T$ scores, each a sum over the head's
# width. Then each position sums up all $T$ values. A good kernel never stores the scores: it reads $q$, $k$
# and $v$ and writes the output. (Softmax is not counted, as is usual.)


# %% build="attention_work"
def attention_work(batch, heads, length, width):
    """(operations, bytes) of attention; q, k, v and the output are (batch, heads, length, width)."""
    ### BEGIN SOLUTION
    return 4 * batch * heads * length**2 * width, 4 * 4 * batch * heads * length * width
    ### END SOLUTION


# %% check="attention_work"
lab.check("attention_work", attention_work)
### BEGIN HIDDEN TESTS
lab.check("attention_work", attention_work, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.5 A dot under a roof
#
# Operations for each byte are called *intensity*. At `bandwidth` bytes a second, no more than bandwidth ·
# intensity operations a second find their numbers, and no more than `peak` can be done. The lower of the two
# is the ceiling, and says what the layer waits for.
#
# Units: an operation in a nanosecond is a GFLOP/s, a byte in a nanosecond is a GB/s.


# %% build="roofline"
def roofline(flops, moved, nanoseconds, peak, bandwidth):
    """(intensity, speed, ceiling, bound): operations for each byte; GFLOP/s; GFLOP/s; "memory" or "compute".

    peak is in GFLOP/s and bandwidth in GB/s.
    """
    ### BEGIN SOLUTION
    intensity = flops / moved
    speed = flops / nanoseconds
    slope = bandwidth * intensity
    return intensity, speed, min(peak, slope), "memory" if slope < peak else "compute"
    ### END SOLUTION


# %% check="roofline"
lab.check("roofline", roofline)
### BEGIN HIDDEN TESTS
lab.check("roofline", roofline, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.6 Amdahl's estimate
#
# A part that takes the share `share` of the whole time becomes `factor` times as fast. The rest takes what it
# took. `factor` may be infinite.


# %% build="amdahl"
def amdahl(share, factor):
    """How many times as fast the whole becomes."""
    ### BEGIN SOLUTION
    return 1 / (1 - share + share / factor)
    ### END SOLUTION


# %% check="amdahl"
lab.check("amdahl", amdahl)
### BEGIN HIDDEN TESTS
lab.check("amdahl", amdahl, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Your profiler on a real network
#
# First the ceilings of this machine, one thread's: multiply-adds on registers alone, and an array too large
# for every cache.

# %%
peak, bandwidth = profiling.ceilings(kernels.cpu_info()["level"])
print(f"peak {peak}, bandwidth {bandwidth} (measured)")
print(
    f"below {peak.value / bandwidth.value:.1f} operations for each byte, memory decides (computed from both)"
)

# %% [markdown]
# Every layer is timed by your `samples` on the input that it really gets, and counted by your counters.

# %%
clock = time.perf_counter_ns
rounds = 10 if os.environ.get("TINYTORCH_QUICK") else 50


def work(layer, x, y):
    """(operations, bytes), by your counters; a layer that only passes over its numbers does one for each."""
    layer = getattr(layer, "conv", layer)
    if isinstance(layer, tt.Linear):
        return linear_work(len(x.data), *layer.weight.shape)
    if isinstance(layer, tt.Conv2d):
        return conv2d_work(*x.shape, len(layer.weight.data), layer.kernel_size[0], padding=layer.padding)
    return y.data.size, x.data.nbytes + y.data.nbytes


def profile(model, x):
    """[(layer, times, operations, bytes), …]. Layers take turns: if the machine slows down, it slows all."""
    calls, counts = [], []
    with tt.no_grad():
        for layer in model:
            y = layer(x)  # warms it up, too
            calls.append(lambda layer=layer, x=x: layer(x))
            counts.append(work(layer, x, y))
            x = y
        times = [[] for _ in calls]
        for _ in range(rounds):
            for call, taken in zip(calls, times):
                taken += samples(call, clock, warmup=0, rounds=1)
    return [(layer, taken, *count) for layer, taken, count in zip(model, times, counts)]


guess = lab.prediction("slowest")
rows = profile(model, x)
medians = [interval(times)[0] for _, times, _, _ in rows]
whole, low, high = interval(samples(lambda: model(x), clock, rounds=rounds))
print("number layer          operations      µs [95% interval]  share   GFLOP/s  of its ceiling (measured)")
for number, (layer, times, flops, moved) in enumerate(rows):
    middle, lowest, highest = interval(times)
    _, speed, ceiling, bound = roofline(flops, moved, middle, peak.value, bandwidth.value)
    print(
        f"{number:>6} {type(layer).__name__:<10} {flops:>13,} {middle / 1e3:>7.0f}"
        f" [{lowest / 1e3:.0f} to {highest / 1e3:.0f}]".ljust(52)
        + f"{middle / sum(medians):>7.1%} {speed:>9.1f} {speed / ceiling:>7.0%} of the {bound} ceiling"
    )
print(
    f"all of them {sum(medians) / 1e6:.2f} ms; "
    f"a pass {whole / 1e6:.2f} ms [{low / 1e6:.2f} to {high / 1e6:.2f}] (measured)"
)

# %%
slowest = int(np.argmax(medians))
share = medians[slowest] / sum(medians)
print(f"slowest: layer {slowest}, with {share:.0%} of the time (measured); you said layer {guess['layer']:g}")
print(f"4 times as fast, it makes the whole {amdahl(share, 4):.2f}× as fast (modelled);", end=" ")
print(f"you said {guess['gain']:g}")
counted = profiling.Profiler().count_flops(network(layer0=trained[0], layer3=trained[3]), x.shape)
print(f"operations: {sum(row[2] for row in rows):,}, by tinytorch's own profiler {counted:,} (counted)")
viz.amdahl_bars(share, 4, name=f"layer {slowest}", title="What the slowest layer is worth")

# %% [markdown]
# Layer 7 has nearly all parameters and most of the operations, and is not the slowest: operations run at
# different speeds, and only a clock sees those. The blue part of the bars is what a faster layer leaves as it
# was.
#
# ### Your dots under this machine's roof


# %%
def dot(name, times, flops, moved):
    """A dot of yours, as viz draws it."""
    middle, lowest, highest = interval(times)
    intensity, speed, ceiling, bound = roofline(flops, moved, middle, peak.value, bandwidth.value)
    speed = Measured(speed, "GFLOP/s", flops / highest, flops / lowest, len(times))
    ceiling = Measured(ceiling, "GFLOP/s")
    return profiling.Roofline(name, intensity, speed, ceiling, bound, peak, bandwidth)


shown = {0: "0 Conv2d", 2: "2 MaxPool2d", 3: "3 Conv2d", 7: "7 Linear", 9: "9 Linear"}
viz.roofline([dot(name, *rows[number][1:]) for number, name in shown.items()], title="The network's layers")

# %% [markdown]
# A dot far below the roof is a kernel that could be better: the two convolutions. A dot *at* the roof cannot
# get faster on this machine, unless it moves fewer bytes or does fewer operations. And a dot *above* it? Its
# numbers came from a cache, not from the memory that was measured; or the machine was busy while the ceilings
# were.
#
# ## 5. Measure
#
# ### The same layer at three sizes
#
# What does a linear layer wait for? Say it for each size before you look.


# %%
def linear_dot(name, batch, width):
    rng = np.random.default_rng(width)
    x = rng.standard_normal((batch, width), dtype=np.float32)
    w, bias = kernels.pack(rng.standard_normal((width, width), dtype=np.float32)), np.zeros(width, np.float32)
    call = lambda: kernels.linear(x, w, bias)
    once = interval(samples(call, clock, rounds=7))[0]
    times = samples(call, clock, rounds=rounds, repeats=max(1, int(1e6 * lab.seconds / once)))
    return dot(name, times, *linear_work(batch, width, width))


dots = [
    linear_dot("too small: batch 1, width 16", 1, 16),
    linear_dot("weights from memory: batch 1, width 4096", 1, 4096),
    linear_dot("right: batch 256, width 1024", 256, 1024),
]
for found in dots:
    part = found.speed.value / found.ceiling.value
    print(f"{found.name:>41}: {found.speed}, {part:.0%} of its {found.bound} ceiling (measured)")
viz.roofline(dots, title="A linear layer at three sizes")

# %% [markdown]
# The small one is under neither ceiling: its time is the price of a call, which no roofline knows about.
#
# ### A faster layer, really put in
#
# Three kernels take the place of layer 3's, each better than the one before: the same loops on whole vectors,
# then without unfolding, then tinytorch's own. And one that no kernel can beat: it hands out the answer
# without computing.


# %%
class Replay(tt.Module):
    """A layer that takes no time: it remembers its answer."""

    def __init__(self, layer, x):
        self.answer = layer(x)

    def forward(self, x):
        return self.answer


with tt.no_grad():
    x3 = tt.Sequential(*model.layers[:3])(x)  # what layer 3 gets
candidates = {
    "vectorised": StepConv2d(trained[3], steps["vectorised"]),
    "in place": StepConv2d(trained[3], steps["in place"]),
    "tinytorch": trained[3],
    "no time at all": Replay(trained[3], x3),
}
share3 = medians[3] / sum(medians)
races, factors = {}, {}
with tt.no_grad():
    for name, layer in candidates.items():
        replaced = network(layer3=layer)
        alone = race(lambda: model[3](x3), lambda layer=layer: layer(x3), seconds=lab.seconds / 2)
        races[name] = race(
            lambda: model(x), lambda replaced=replaced: replaced(x), seconds=lab.seconds, noise=noise
        )
        factors[name] = np.inf if name == "no time at all" else alone.ratio.value
        print(
            f"{name:>14}: the layer {factors[name]:5.1f}× as fast (measured), so the whole "
            f"{amdahl(share3, factors[name]):.2f}× (modelled); it is {races[name].ratio} (measured)"
        )

# %% [markdown]
# ### From where on is more speed worth nothing?
#
# The horizontal line is what the whole gains when layer 3 takes no time at all.

# %%
finite = sorted((factor, races[name].ratio) for name, factor in factors.items() if np.isfinite(factor))
curve = np.linspace(1, max(5, 1.2 * finite[-1][0]), 20)
limit = races["no time at all"].ratio
viz.lines(
    [
        {"name": "your profile and Amdahl", "x": curve, "y": [amdahl(share3, factor) for factor in curve],
         "tag": "modelled"},
        {"name": "measured", "x": [factor for factor, _ in finite], "y": [ratio.value for _, ratio in finite],
         "low": [ratio.low for _, ratio in finite], "high": [ratio.high for _, ratio in finite]},
        {"name": "your guess", "x": [1, 4], "y": [1, guess["gain"]], "tag": "predicted"},
        {"name": "no time at all, measured", "x": [1, curve[-1]], "y": [limit.value] * 2},
    ],
    title="Layer 3 gets faster", x_label="times as fast: the layer", y_label="times as fast: the whole",
)  # fmt: skip

# %% [markdown]
# ## 6. Break it
#
# ### The timer
#
# **No warm-up.** A layer whose weights no one has touched yet, and one whose weights have left the caches
# each time: `set_up` reads something else. None of the three is *the* time; say which one you mean.


# %%
def fresh():
    """A layer and its input, never used before."""
    layer, x = tt.Linear(1024, 1024), tt.Tensor(np.ones((1, 1024), np.float32))
    return lambda: layer(x)


other = np.ones(64 * 2**20 // 8)
with tt.no_grad():
    first = samples(fresh(), clock, warmup=0, rounds=1)
    warm = samples(fresh(), clock, warmup=5, rounds=rounds)
    cold = samples(fresh(), clock, warmup=5, rounds=rounds // 3 + 6, set_up=other.sum)
print(f"first call {first[0] / 1e3:.0f} µs, warm {interval(warm)[0] / 1e3:.0f} µs, ", end="")
print(f"caches full of something else {interval(cold)[0] / 1e3:.0f} µs (measured)")

# %% [markdown]
# **A clock too coarse.** The clock below ticks every 10 ms, as some systems' `time.time` did for decades.
# With one call between two readings it sees nothing, and is quite sure of it. `repeats` cures it.

# %%
coarse = lambda: time.perf_counter_ns() // 10_000_000 * 10_000_000
rows16 = np.ones((16, 16), np.float32)
for name, ticks, repeats in (("coarse", coarse, 1), ("coarse", coarse, 50_000), ("fine", clock, 50_000)):
    times = samples(lambda: kernels.relu(rows16), ticks, rounds=9, repeats=repeats)
    middle, low, high = interval(times)
    print(f"{name:>6} clock, repeats={repeats:>6}: {middle:,.0f} ns [{low:,.0f} to {high:,.0f}] (measured)")

# %% [markdown]
# **A function so short that the call is most of it.** Compare with a function that does nothing:

# %%
a = np.ones(4, np.float32)
for name, call in {"nothing": lambda: None, "4 numbers added": lambda: a + a}.items():
    middle, low, high = interval(samples(call, clock, rounds=rounds, repeats=2000))
    print(f"{name:>15}: {middle:,.0f} ns [{low:,.0f} to {high:,.0f}] (measured)")
small = gallery.run("int8_in_a_tiny_layer", seconds=lab.seconds)
print(f"{small} (measured)")

# %% [markdown]
# **Another process.** Every core gets something else to do while the network is timed. Which of mean, minimum
# and median tells what a user of this busy machine meets, and which hides that it is busy?


# %%
def busy_machine(seconds):
    """One process for each core that does nothing useful for so long."""
    loop = f"import time; end = time.time() + {seconds}\nwhile time.time() < end: pass"
    return [subprocess.Popen([sys.executable, "-c", loop]) for _ in range(os.cpu_count() or 1)]


strips = {}
with tt.no_grad():
    strips["alone"] = samples(lambda: model(x), clock, rounds=rounds)
    others = busy_machine(seconds=60)
    try:
        time.sleep(0.5)
        strips["with others"] = samples(lambda: model(x), clock, rounds=rounds)
        faster = network(layer3=candidates["vectorised"])
        disturbed = race(lambda: model(x), lambda: faster(x), seconds=lab.seconds, noise=noise)
    finally:
        for process in others:
            process.kill()
            process.wait()
    strips["alone again"] = samples(lambda: model(x), clock, rounds=rounds)
for name, times in strips.items():
    middle, low, high = interval(times)
    print(
        f"{name:>11}: median {middle / 1e6:.1f} ms [{low / 1e6:.1f} to {high / 1e6:.1f}], "
        f"mean {np.mean(times) / 1e6:.1f}, from {min(times) / 1e6:.1f} to {max(times) / 1e6:.1f} (measured)"
    )
print(f"the vectorised kernel, taking turns with the old one: {disturbed.ratio} as fast (measured);")
print(f"                           as it was without the others: {races['vectorised'].ratio}")
viz.race_strips(
    SimpleNamespace(seconds={name: np.array(times) / 1e9 for name, times in strips.items()}),
    title="A pass of the network",
)  # fmt: skip

# %% [markdown]
# Times taken one after the other measure the machine's mood. In a race both take turns and share the mood, so
# the ratio moves far less than the times do: this is why every comparison in these labs is a race. It is no
# licence to measure on a busy machine; look how wide its interval is.
#
# ### The optimization
#
# **The wrong layer.** ReLU 8 is replaced by one that takes *no time at all*. Nobody notices:

# %%
with tt.no_grad():
    x8 = tt.Sequential(*model.layers[:8])(x)
    free = network(layer8=Replay(trained[8], x8))
    result = race(lambda: model(x), lambda: free(x), seconds=lab.seconds, noise=noise)
share8 = medians[8] / sum(medians)
print(f"with a share of {share8:.1%} the whole gains at most {amdahl(share8, np.inf):.3f}× (modelled)")
print(f"it is {result.ratio} as fast: {result.verdict} (measured)")

# %% [markdown]
# ## 7. Explain the gap
#
# Between the last two kernels of section 5, layer 3 gained much and the whole gained little. Why?
#
# - (a) the best kernel is held up by the memory bandwidth, so it is not really faster
# - (b) the times of so short a layer are too noisy to tell
# - (c) the other layers take as long as ever, and by then they are most of the time
# - (d) a faster layer slows the next one down, which waits for its input

# %% build="gap"
gap = None  # "a", "b", "c" or "d"
### BEGIN SOLUTION
gap = "c"
### END SOLUTION

# %% check="gap"
lab.check("gap", gap)

# %% [markdown]
# And in a sentence: what would you make faster *now*, and what is the most that it can give?

# %% [markdown] answer="gap" points=1
# ### BEGIN SOLUTION
# With layer 3 on the best kernel, the other convolution is the largest part of what is left; with its share
# $p$ of the *new* total, no kernel can give more than $1 / (1 - p)$, so one profiles again before choosing.
# ### END SOLUTION

# %% [markdown]
# ## 8. When, and when not
#
# | Make a layer faster when | Leave it when |
# |---|---|
# | its share of the *time* is large | it only has most parameters, or most operations |
# | its dot is far below the roof | it is at the roof: then move fewer bytes, or compute less |
# | Amdahl's estimate is beyond the noise | the whole could gain less than the noise |
# | you profiled after the last change | the profile is from before it |
#
# | Trust a time when | Doubt it when |
# |---|---|
# | warmed up, repeated, with an interval | it is one run, a mean, or the best of many |
# | both sides took turns | one ran today, the other yesterday |
# | it is long against the clock and the call | it is as long as a call that does nothing |
#
# ## 9. The whole model
#
# Layer by layer to where the machine allows: first layer 3, then both convolutions, then everything that
# tinytorch's `optimize` knows (weights packed once, layers fused). What is right stays right.

# %%
forms = {
    "as it was": network(),
    "layer 3 faster": network(layer3=trained[3]),
    "layers 0 and 3": network(layer0=trained[0], layer3=trained[3]),
    "optimized": optimize(trained),
}
batch, everything = np.ascontiguousarray(held_out[:32]), np.ascontiguousarray(held_out)


def answers(form, images):
    y = form(tt.Tensor(images) if isinstance(form, tt.Module) else images)
    return np.asarray(getattr(y, "data", y))


with tt.no_grad():
    results = race_many(
        {name: (lambda form=form: answers(form, batch)) for name, form in forms.items()},
        seconds=3 * lab.seconds, noise=noise,
    )  # fmt: skip
    for name, form in forms.items():
        right = (answers(form, everything).argmax(axis=1) == truth).mean()
        gain = results.between("as it was", name).ratio
        print(f"{name:>14}: {results.time(name)}, {gain} as fast, {right:.1%} right (measured)")

# %% [markdown]
# ## 10. In production
#
# - **PyTorch** has [torch.profiler](https://docs.pytorch.org/docs/stable/profiler.html) for what runs when,
#   and [torch.utils.benchmark](https://docs.pytorch.org/docs/stable/benchmark_utils.html), whose timer warms
#   up, repeats and reports medians. On a GPU calls return before the work is done: whoever forgets to
#   synchronize times the launch.
# - **Linux** counts what the CPU did, cache misses included: [perf](https://perfwiki.github.io/main/). On
#   NVIDIA's GPUs, [Nsight Compute](https://docs.nvidia.com/nsight-compute/) draws the roofline.
# - **The methods**: Williams, Waterman and Patterson,
#   [Roofline](https://doi.org/10.1145/1498765.1498785) (2009); Amdahl,
#   [Validity of the single processor approach](https://doi.org/10.1145/1465482.1465560) (1967); Hoefler and
#   Belli, [Scientific benchmarking of parallel computing systems](https://doi.org/10.1145/2807591.2807644)
#   (2015), on medians, intervals and the twelve ways to get them wrong.
# - **In tinytorch**, `profiling.profile_layers(model, x)` does what you built and says how well the layers
#   add up to the whole, and `profiling.check_what_if(model, x, layer)` races what Amdahl predicts.
