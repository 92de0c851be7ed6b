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
# # Lab 20 · Benchmarking
#
# **The question.** "B is faster than A." Would somebody else, tomorrow, on this machine, find the same?
#
# **The cost model, in one line.** `optimize(model)` takes $p$ seconds once, and then an answer takes $t_B$
# instead of $t_A$. With $k$ answers it is $\dfrac{k\,t_A}{p + k\,t_B}$ times as fast: it pays from
# $k = \dfrac{p}{t_A - t_B}$ on.
#
# And what we *measure* is never $t$, but $t$ times the machine's mood: its clock rate, its neighbours, its
# caches. The mood changes while we look. You will build a race, an interval, a verdict, a search for the
# break-even point and a leaderboard that hold against that, and watch careless benchmarks prove the opposite
# of the truth. It takes about 45 minutes.

# %%
import contextlib
import os
import threading
from types import SimpleNamespace

import numpy as np

import tinytorch as tt
from tinytorch import kernels, viz
from tinytorch.acceleration import optimize
from tinytorch.course import open_lab
from tinytorch.datasets import load_digits
from tinytorch.experiments import gallery
from tinytorch.models.cnn import DigitsCNN
from tinytorch.quantities import Measured
from tinytorch.timing import machine, noise_floor

lab = open_lab(20)
quick = bool(os.environ.get("TINYTORCH_QUICK"))
np.random.seed(0)
machine()

# %% [markdown]
# ## 1. Predict
#
# - `false_alarms`: somebody times a function 15 times, then *the same* function another 15 times, and calls
#   the second one faster if its mean is better by 2 %. Of 100 such comparisons, how many say "faster"?
# - `pays_from`: how many answers must an optimized network give until it has paid for its optimization?
# - `ratio`: and how many times as fast is it altogether when it gives 64?
#
# Write `lab.predict("race", false_alarms=…, pays_from=…, ratio=…)`. A wrong guess costs nothing, and no guess
# teaches nothing. Once you have measured, it stays what it was.

# %% predict="race"
### BEGIN SOLUTION
lab.predict("race", false_alarms=5, pays_from=2, ratio=4)
### END SOLUTION

# %% [markdown]
# ## 2. The baseline, and its noise
#
# A network that reads handwritten digits, one at a time, raced against *itself* by tinytorch:

# %%
images, labels = load_digits(size=32, split="train")
held_out, truth = load_digits(size=32, split="test")


def train(model, lr):
    data = tt.TensorDataset(tt.Tensor(images), tt.Tensor(labels))
    loader = tt.DataLoader(data, batch_size=32, shuffle=True, seed=0)
    trainer = tt.Trainer(model, tt.Adam(model.parameters(), lr=lr), tt.CrossEntropyLoss(), progress=False)
    for _ in range(1 if quick else 4):
        trainer.train_epoch(loader)
    model.eval()
    return model


mlp = train(tt.Sequential(tt.Flatten(), tt.Linear(1024, 128), tt.ReLU(), tt.Linear(128, 10)), lr=1e-3)
one = np.ascontiguousarray(held_out[:1])


def plain():
    with tt.no_grad():
        return mlp(tt.Tensor(one))


noise, same = noise_floor(plain, seconds=lab.seconds)
print(f"the network against itself: {same.ratio}, so anything within {noise:.3f}× is noise (measured)")
viz.noise_distribution(same)

# %% [markdown]
# No round says exactly 1, though nothing differs. Whoever looks at one round sees a "gain" every time.
#
# ## 3. Build
#
# ### 3.1 A race
#
# Three rules make times comparable:
#
# - **Warm**: the first call fills caches and buffers. Call each once before the clock starts.
# - **In turns**: A B, B A, A B, … A machine that slows down then slows both, and neither always runs second.
# - **Long enough**: reading the clock takes time too, and it ticks. Let one sample be `repeats` calls in a
#   row, with one reading before and one after, divided by `repeats`.


# %% build="race"
import time


def race(a, b, rounds=15, repeats=1, clock=time.perf_counter):
    """(a_seconds, b_seconds): two float arrays (rounds,), the seconds for one call in each round.

    a, b: functions of no arguments, each called once untimed before the first round. Round 0 runs a first,
    round 1 b, round 2 a, and so on. clock: a function that gives seconds.
    """
    ### BEGIN SOLUTION
    a(), b()
    both = [(a, []), (b, [])]
    for number in range(rounds):
        for call, seconds in both if number % 2 == 0 else both[::-1]:
            start = clock()
            for _ in range(repeats):
                call()
            seconds.append((clock() - start) / repeats)
    return tuple(np.array(seconds) for _, seconds in both)
    ### END SOLUTION


# %% check="race"
lab.check("race", race)
### BEGIN HIDDEN TESTS
lab.check("race", race, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.2 An interval
#
# Times are skewed: a sample can be ten times too long, never ten times too short. So take the median, and an
# interval that asks for no bell curve. Each sample lies below the *true* median with probability ½, like
# heads of a coin. From the $k$-th smallest to the $k$-th largest of $n$ samples misses it when fewer than $k$
# samples lie on one side:
#
# $$P(\text{missed}) = 2 \cdot \sum_{i=0}^{k-1} \binom{n}{i} \Big/ 2^n$$
#
# Take the largest $k$ for which that is at most $1 - \text{confidence}$: with 15 samples and 95 %, $k = 4$.
# Sometimes not even $k = 1$ is good enough; then nothing can be said: $(-\infty, \infty)$.


# %% build="interval"
import math


def median_interval(samples, confidence=0.95):
    """(low, high) around the true median of the samples (n,). `math.comb(n, i)` is the binomial."""
    ### BEGIN SOLUTION
    samples, n = np.sort(samples), len(samples)
    missed = np.cumsum([2 * math.comb(n, i) / 2**n for i in range(n // 2)])  # for k = 1, 2, …
    k = int(np.sum(missed <= 1 - confidence))
    if k == 0:
        return -math.inf, math.inf
    return float(samples[k - 1]), float(samples[n - k])
    ### END SOLUTION


# %% check="interval"
lab.check("interval", median_interval)
### BEGIN HIDDEN TESTS
lab.check("interval", median_interval, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.3 A verdict
#
# Within a round, both met the same machine: its mood is a factor of both times, and cancels in their *ratio*.
# So divide first, round by round, and only then take the median.


# %% build="compare"
def compare(a_seconds, b_seconds, noise=1.0, confidence=0.95):
    """{"ratio", "low", "high", "n", "verdict"} of one race: how many times as fast b is, as a is 1.

    ratio: the median of the rounds' ratios, above 1 if b is faster; low, high: its `median_interval`; n: the
    rounds. verdict: "faster" or "slower" if the whole interval lies beyond the noise, above `noise` or below
    1 / noise; else "undecided". ValueError for times that are not finite and above 0, or not in pairs.
    """
    ### BEGIN SOLUTION
    a_seconds, b_seconds = np.asarray(a_seconds), np.asarray(b_seconds)
    both = np.concatenate([a_seconds, b_seconds])
    if len(a_seconds) != len(b_seconds) or not (np.isfinite(both) & (both > 0)).all():
        raise ValueError("compare: needs finite times above 0, as many of a as of b")
    ratios = a_seconds / b_seconds
    low, high = median_interval(ratios, confidence)
    verdict = "faster" if low > noise else "slower" if high < 1 / noise else "undecided"
    return {"ratio": float(np.median(ratios)), "low": low, "high": high, "n": len(ratios), "verdict": verdict}
    ### END SOLUTION


# %% check="compare"
lab.check("compare", compare)
### BEGIN HIDDEN TESTS
lab.check("compare", compare, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### How often does it lie?
#
# To count wrong verdicts one must know the truth. So here is a simulated machine whose mood wanders, with a
# neighbour that sometimes takes it for a moment; b is `gain` times as fast as a, by construction. Four rules
# see the same machine. Your guess is needed now.


# %%
def simulated(order, gain, rng):
    """The seconds of a and of b when they run in this order, on a machine whose mood wanders."""
    drift = np.cumsum(rng.normal(0, 0.01, len(order)))
    mood = np.exp(drift + rng.normal(0, 0.02, len(order))) * np.where(rng.random(len(order)) < 0.03, 3, 1)
    is_b = np.array(list(order)) == "b"
    seconds = mood * np.where(is_b, 1 / gain, 1.0)
    return seconds[~is_b], seconds[is_b]


a_then_b, in_turns = "a" * 15 + "b" * 15, "abba" * 7 + "ab"


def by_means(a, b):
    ratio = a.mean() / b.mean()
    return "faster" if ratio > 1.02 else "slower" if ratio < 1 / 1.02 else "undecided"


def again_until_it_passes(gain, rng):
    tries = [by_means(*simulated(a_then_b, gain, rng)) for _ in range(5)]
    return "faster" if "faster" in tries else tries[-1]


rules = {
    "means, A then B": lambda gain, rng: by_means(*simulated(a_then_b, gain, rng)),
    "again, up to 5 times": again_until_it_passes,
    "means, in turns": lambda gain, rng: by_means(*simulated(in_turns, gain, rng)),
    "yours": lambda gain, rng: compare(*simulated(in_turns, gain, rng))["verdict"],
}
guess = lab.prediction("race")
count = 40 if quick else 400
shares = {}
for gain in (1.0, 1.1):
    print(f"b is {gain}× as fast in truth; verdicts of {count} simulated comparisons (modelled)")
    for name, rule in rules.items():
        rng = np.random.default_rng(1)
        said = [rule(gain, rng) for _ in range(count)]
        shares[name, gain] = {word: 100 * said.count(word) / count for word in ("faster", "slower")}
        share = shares[name, gain]
        print(f"  {name:>20}: {share['faster']:5.1f} % faster, {share['slower']:5.1f} % slower")

# %%
wrong = {
    "no gain, and yet “faster”": [shares[name, 1.0]["faster"] for name in rules],
    "a gain of 1.1×, and yet “slower”": [shares[name, 1.1]["slower"] for name in rules],
}
viz.bars(
    [{"name": mistake, "x": list(rules), "y": values} for mistake, values in wrong.items()],
    title=f"How often each rule is wrong (the line is your guess, {guess['false_alarms']:g})",
    y_label="% of comparisons (modelled)",
    level=guess["false_alarms"],
)

# %% [markdown]
# The means prove the *opposite* of the truth now and then. Your rule is wrong in 5 % of comparisons by
# design, half of them a false "faster". And running again until it passes makes *any* rule worthless.
#
# ### 3.4 The break-even point
#
# From which size on is b faster, *for good*? One number would be a lie, for verdicts can be undecided. Give a
# range: at `below` it surely doesn't pay yet, and from `above` on it surely does.


# %% build="break_even"
def break_even(verdict_at, sizes, refine=2):
    """(below, above): the largest size with "slower", and the smallest from which on all are "faster".

    verdict_at: a function from a size to its verdict. Every one of the ascending `sizes` is raced, and then
    up to `refine` times round(sqrt(below * above)), if both are there and it is new: no size is raced twice.
    None for an end that there isn't.
    """
    ### BEGIN SOLUTION
    verdicts = {size: verdict_at(size) for size in sizes}

    def bracket():
        below = max((size for size in verdicts if verdicts[size] == "slower"), default=None)
        not_yet = max((size for size in verdicts if verdicts[size] != "faster"), default=0)
        return below, min((size for size in verdicts if size > not_yet), default=None)

    for _ in range(refine):
        below, above = bracket()
        if below is None or above is None:
            break
        middle = round((below * above) ** 0.5)
        if middle in verdicts:
            break
        verdicts[middle] = verdict_at(middle)
    return bracket()
    ### END SOLUTION


# %% check="break_even"
lab.check("break_even", break_even)
### BEGIN HIDDEN TESTS
lab.check("break_even", break_even, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Measure
#
# Your race, on real code: $k$ answers of the network as it is, against optimizing it first. And your own
# noise floor: the plain network against itself.


# %%
def answers(k):
    """k answers one after the other: (as it is, optimized first)."""

    def as_it_is():
        for _ in range(k):
            plain()

    def optimized_first():
        fast = optimize(mlp)
        for _ in range(k):
            fast(one)

    return as_it_is, optimized_first


def repeats_for(call, sample=0.002):
    """How many calls fill one sample, fixed before the race begins."""
    call()
    start = time.perf_counter()
    call()
    return max(1, round(sample / (time.perf_counter() - start)))


def measure(a, b, noise=1.0):
    repeats = repeats_for(a)
    return compare(*race(a, b, rounds=7 if quick else 25, repeats=repeats), noise)


def words(found):
    return f"{found['ratio']:.2f}× [{found['low']:.2f} to {found['high']:.2f}], {found['verdict']} (measured)"


itself = measure(plain, lambda: plain())
noise = max(itself["high"], 1 / itself["low"])
print(f"plain against itself: {words(itself)}")
for name, k in (("too small", 1), ("right", 16), ("large", 64)):
    print(f"{name:>9}, {k:>2} answers: {words(measure(*answers(k), noise))}")

# %% [markdown]
# ### From where on does it pay?

# %%
found = {}


def verdict_at(k):
    found[k] = measure(*answers(k), noise)
    return found[k]["verdict"]


below, above = break_even(verdict_at, [1, 2, 4, 8, 16, 32, 64])
print(
    f"it does not pay with {below} answers, and pays from {above} (measured); you said {guess['pays_from']:g}"
)
ratios = {k: Measured(f["ratio"], "×", f["low"], f["high"], f["n"]) for k, f in sorted(found.items())}
viz.break_even(
    SimpleNamespace(
        sizes=list(ratios),
        races=[SimpleNamespace(ratio=ratio) for ratio in ratios.values()],
        pays_from=above and Measured(above, "", below, above, len(found)),
    ),
    guess=(guess["pays_from"], guess["ratio"]),
    title="Optimizing first, then k answers",
    x_label="answers k",
)

# %% [markdown]
# ## 5. Break it
#
# Five ways to prove what isn't so, on your machine. In all of them the code is right and the clock too.
#
# **1. First A, then B, and something begins in between.** An autosave, a progress bar, a backup: here, a
# few threads that count. `fast` answers with the network that was optimized once, before.


# %%
@contextlib.contextmanager
def neighbours(count=4):
    """Other threads at work, for as long as the block lasts."""
    stop = threading.Event()

    def work():
        while not stop.is_set():
            sum(range(1000))

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


optimized = optimize(mlp)
fast = lambda: optimized(one)
rounds, repeats = (7, 5) if quick else (21, 20)
a_seconds = race(plain, plain, rounds, repeats)[0]
with neighbours():
    b_seconds = race(fast, fast, rounds, repeats)[1]
careless = a_seconds.mean() / b_seconds.mean()
print(f"first A, then B:  the optimized network is {careless:.2f}× as fast (measured, and wrong)")

quiet = race(plain, fast, rounds, repeats)
with neighbours():
    loud = race(plain, fast, rounds // 2, repeats)
disturbed = [np.concatenate(parts) for parts in zip(quiet, loud)]
print(f"in turns, a third of it disturbed: {words(compare(*disturbed, noise))}")

# %% [markdown]
# **2. Different work.** A published course reported INT8 convolutions at 2.3× the speed of float32 (quoted).
# They computed one output in four. With all outputs, the same code runs at 0.76× (quoted): slower. Here is
# how that looks, with a stride of 2. No timer can notice it, only somebody who compares the *answers*:

# %%
rng = np.random.default_rng(0)
picture = rng.standard_normal((1, 16, 64, 64), dtype=np.float32)
filters = rng.standard_normal((16, 16, 3, 3), dtype=np.float32)
every = lambda: kernels.conv2d(picture, filters, padding=1)
quarter = lambda: kernels.conv2d(picture, filters, padding=1, stride=2)
print(f"“our convolution”: {words(measure(every, quarter, noise))}")
print(f"outputs: {every().size} and {quarter().size}")

# %% [markdown]
# **3. Unequal threads.** The same function on both sides; one may use all cores.

# %%
left = rng.standard_normal((384, 384), dtype=np.float32)
threads = kernels.get_num_threads()


def with_threads(count):
    def call():
        kernels.set_num_threads(count)
        return kernels.matmul(left, left)

    return call


print(f"1 thread against {threads}: {words(measure(with_threads(1), with_threads(threads), noise))}")
kernels.set_num_threads(threads)

# %% [markdown]
# **4. Cold against warm.** Who writes to new memory first waits until the system has found some; the second
# gets it for nothing. Both write the same ones.

# %%
fresh = np.empty(2_000_000 if quick else 20_000_000, np.float32)
seconds = []
for _ in range(2):
    start = time.perf_counter()
    fresh.fill(1)
    seconds.append(time.perf_counter() - start)
print(f"the second time it is {seconds[0] / seconds[1]:.2f}× as fast as the first (measured, and worthless)")

# %% [markdown]
# **5. The right optimization in the wrong place.** The gallery holds cases that lose, each raced with
# intervals and its reason. `gallery.names()` lists them all.

# %%
for name in ("packing_used_once", "threads_on_a_small_product", "pruning_one_column"):
    print(f"- {gallery.run(name, seconds=lab.seconds)} (measured)")

# %% [markdown]
# ## 6. Explain the gap
#
# Once it is made, how much faster is the optimized network, with all of your care?

# %%
limit = measure(plain, fast, noise)
print(f"one answer, optimized long before: {words(limit)}")
print(f"4 answers, optimized first:        {words(found[4])}")

# %% [markdown]
# What keeps the gain at 4 answers below that?
#
# - (a) reading the clock, which takes a larger share of a short sample
# - (b) the noise, which hides a part of the gain
# - (c) the optimizing, which is paid once and shared by only 4 answers
# - (d) the weights, which have to come from memory for each answer

# %% build="gap"
gap = None  # "a", "b", "c" or "d"
### BEGIN SOLUTION
gap = "c"
### END SOLUTION

# %% check="gap"
lab.check("gap", gap)
### BEGIN HIDDEN TESTS
lab.check("gap", gap, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# A colleague races 100 changes with your `compare`, at 95 %, and reports the 3 that it calls faster. In one
# or two sentences: what do you tell them?

# %% [markdown] answer="gap" points=1
# ### BEGIN SOLUTION
# Of 100 changes that do nothing, about 2 or 3 are called faster at this confidence (half of 5 %), so these 3
# may be worth nothing. Race those 3 again, once, with new samples, or ask each of 100 claims for a confidence
# of 1 - 0.05 / 100 (Bonferroni), and report how many were tried.
# ### END SOLUTION

# %% [markdown]
# ## 7. When, and when not
#
# | Believe a number when | Don't when |
# |---|---|
# | both ran in turns, warm, with the same threads | A's time is from last week |
# | it has an interval, and n | it is the best of many, or a mean without a spread |
# | the interval lies beyond A against A | the gain is smaller than the noise |
# | the outputs were compared | only times were |
# | the number of tries is told | it was run until it passed |
# | it says from which size on it holds, and where it loses | one size was tried, the author's |
#
# **What a race does not show:** whether a *user* waits less. That takes the whole model.
#
# ### 7.1 An entry that can be believed
#
# A leaderboard compares what different people measured on different days. Seconds have the day's mood in
# them; the gain over a baseline that ran in the same rounds does not. And an entry holds all that a time
# depends on.


# %% build="entry"
NEEDED = ("cpu", "threads", "python", "numpy", "tinytorch")


def leaderboard_entry(name, baseline_seconds, seconds, right, machine):
    """{"name", "gain", "low", "high", "n", "seconds", "accuracy", "machine"} of one model.

    baseline_seconds, seconds: of one race (n,). gain, low, high, n: what `compare` says of it; seconds: the
    median for one call. right: which of the held-out samples the model got right (N,) bool. machine: a dict,
    kept whole. ValueError if it lacks something NEEDED, and for times that `compare` refuses.
    """
    ### BEGIN SOLUTION
    missing = [key for key in NEEDED if key not in machine]
    if missing:
        raise ValueError(f"entry {name}: the machine's {', '.join(missing)} is missing")
    found = compare(baseline_seconds, seconds)
    return {
        "name": name, "gain": found["ratio"], "low": found["low"], "high": found["high"], "n": found["n"],
        "seconds": float(np.median(seconds)), "accuracy": float(np.mean(right)), "machine": machine,
    }  # fmt: skip
    ### END SOLUTION


# %% check="entry"
lab.check("entry", leaderboard_entry)
### BEGIN HIDDEN TESTS
lab.check("entry", leaderboard_entry, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 7.2 A fair ranking
#
# Who is less accurate than agreed has no place, however fast. Whoever overlaps with the first of a place
# can't be told apart from it, and shares the place: 1, 1, 3. Another CPU or other threads make another
# contest. Versions may differ: they are what one wants to compare.


# %% build="rank"
def rank(entries, least_accuracy):
    """[(place, name), …], the largest gain first. ValueError for entries whose "cpu" or "threads" differ."""
    ### BEGIN SOLUTION
    if len({(entry["machine"]["cpu"], entry["machine"]["threads"]) for entry in entries}) > 1:
        raise ValueError("rank: the entries are from different machines, or use different threads")
    places, leader, place = [], None, 0
    good = [entry for entry in entries if entry["accuracy"] >= least_accuracy]
    for position, entry in enumerate(sorted(good, key=lambda entry: -entry["gain"]), start=1):
        if leader is None or entry["high"] < leader["low"]:
            leader, place = entry, position
        places.append((place, entry["name"]))
    return places
    ### END SOLUTION


# %% check="rank"
lab.check("rank", rank)
### BEGIN HIDDEN TESTS
lab.check("rank", rank, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ## 8. The whole model
#
# Two trained models, as they are and optimized (+): from an image to its digit, one at a time, each raced
# against the same baseline with your `race`.

# %%
cnn = train(DigitsCNN(), lr=2e-3)


def as_trained(model):
    def answer(batch):
        with tt.no_grad():
            return model(tt.Tensor(batch)).data.argmax(axis=1)

    return answer


forms = {
    "MLP": as_trained(mlp),
    "MLP+": optimize(mlp).predict,
    "CNN": as_trained(cnn),
    "CNN+": optimize(cnn).predict,
}
rounds = 7 if quick else 25


def enter(name, answer):
    call = lambda: answer(one)
    baseline, seconds = race(lambda: forms["MLP"](one), call, rounds, repeats_for(call))
    return leaderboard_entry(name, baseline, seconds, answer(held_out) == truth, machine())


entries = [enter(name, answer) for name, answer in forms.items()]
for place, name in rank(entries, least_accuracy=0):
    entry = next(entry for entry in entries if entry["name"] == name)
    gain = Measured(entry["gain"], "×", entry["low"], entry["high"], entry["n"])
    print(
        f"place {place}: {name:4} {entry['accuracy']:.1%} of {len(truth)} right, {gain} as fast as the MLP, "
        f"{1e3 * entry['seconds']:.3g} ms (measured)"
    )
print(f"n = {rounds} rounds each, on {entries[0]['machine']}")

# %%
viz.pareto(
    {entry["name"]: (1 / entry["gain"], 100 * entry["accuracy"]) for entry in entries},
    title="Nobody beats those on the line in both",
    x_label="time for one image, where the MLP takes 1 (measured)",
    x_scale="log",
    y_label="% right (measured)",
)

# %% [markdown]
# There is no best model here, only a line of choices. Which one wins a contest is decided by the accuracy
# that it asks for:

# %%
for least in (0.0, max(entry["accuracy"] for entry in entries)):
    places = rank(entries, least_accuracy=least)
    print(f"at least {least:.1%} right: " + ", ".join(f"{place}. {name}" for place, name in places))

# %% [markdown]
# ## 9. In production
#
# - **MLPerf Inference** separates accuracy from speed: a system must reach a share of the reference's
#   accuracy before its speed counts, and results name hardware and software:
#   [Reddi et al.](https://arxiv.org/abs/1911.02549) (2020),
#   [the rules](https://github.com/mlcommons/inference_policies).
# - **PyTorch** has [`torch.utils.benchmark`](https://pytorch.org/docs/stable/benchmark_utils.html): it warms
#   up, uses one thread unless told otherwise, and reports median and interquartile range.
# - **Google Benchmark** can [interleave repetitions at
#   random](https://github.com/google/benchmark/blob/main/docs/random_interleaving.md), for the reason that
#   you have seen; [`pyperf`](https://pyperf.readthedocs.io) starts new processes, and warns of unstable
#   results.
# - **The statistics**: Georges, Buytaert and Eeckhout, [Statistically rigorous Java performance
#   evaluation](https://doi.org/10.1145/1297027.1297033) (2007); Hoefler and Belli, [Scientific benchmarking
#   of parallel computing systems](https://doi.org/10.1145/2807591.2807644) (2015). Mytkowicz et al.,
#   [Producing wrong data without doing anything obviously wrong!](https://doi.org/10.1145/1508244.1508275)
#   (2009): the length of an environment variable can move times by more than an optimization does.
# - **tinytorch**: `tinytorch.timing.race` and `breakeven` are what you built, with a warning for different
#   answers; `tinytorch bench` keeps records, compares them, and ranks a folder of them.
