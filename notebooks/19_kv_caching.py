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
# # Lab 19 · KV caching
#
# **The question.** A language model writes one token at a time, and each new token looks back at all earlier
# ones. What is gained, and what does it cost, to keep what was computed for them?
#
# **The cost model, in one line.** For the token at position $n$ a model with $P$ weights does $2Pn$
# operations if it reads the whole text again, and $2P$ if it keeps the past.
#
# A text of $N$ tokens: $2P(1 + 2 + \dots + N) \approx PN^2$ against $2PN$, so $N/2$ times fewer. And there is
# a price in memory: two vectors for each layer and position.
#
# You will build attention, a key-value cache and generation, let a real GPT write with them, and measure
# where the cache wins and where it loses. It takes about 45 minutes.

# %%
import os

import numpy as np

import tinytorch as tt
from tinytorch import kernels, viz
from tinytorch.attention import infer
from tinytorch.course import open_lab
from tinytorch.datasets.text import load_text
from tinytorch.experiments import gallery
from tinytorch.models.gpt import next_token_loss
from tinytorch.timing import breakeven, noise_floor, race, race_many
from tinytorch.tokenization import BPETokenizer

lab = open_lab(19)
np.random.seed(0)
quick = bool(os.environ.get("TINYTORCH_QUICK"))

# %% [markdown]
# ## 1. Predict
#
# A GPT with 2 layers writes after a prompt of one token, with your cache and without.
#
# - `ratio`: for 256 new tokens, how many times as fast is it with the cache? ($N/2$ would be 128.)
# - `pays_from`: from how many new tokens on is it faster at all?
#
# Write `lab.predict("cache", ratio=…, pays_from=…)` with your two numbers. A wrong guess costs nothing, and
# no guess teaches nothing. Once you have measured, it stays what it was.

# %% predict="cache"
### BEGIN SOLUTION
lab.predict("cache", ratio=40, pays_from=8)
### END SOLUTION

# %% [markdown]
# ## 2. The model, the baseline, and its noise
#
# A GPT that learns from "Alice's Adventures in Wonderland" for about 20 seconds. Its tokens are 512 pieces of
# words.

# %%
text = load_text("alice")
tokenizer = BPETokenizer(512)
tokenizer.train(text)
book = np.asarray(tokenizer.encode(text))
model = tt.GPT(tokenizer.vocab_size, embed_dim=64, num_layers=2, num_heads=4, max_seq_len=1024)


def train(steps, length=96, batch=8):
    optimizer = tt.AdamW(model.parameters())
    rng = np.random.default_rng(0)
    for step in range(steps):
        optimizer.lr = 8e-3 * min(1, (step + 1) / 20) * (1 - 0.9 * step / steps)
        starts = rng.integers(0, len(book) - length - 1, batch)
        windows = book[starts[:, None] + np.arange(length + 1)]
        loss = next_token_loss(model(windows[:, :-1]), windows[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss


loss = train(steps=20 if quick else 1200)
model.eval()
weight_bytes = sum(parameter.data.nbytes for parameter in model.parameters())
prompt = np.asarray(tokenizer.encode("Alice was beginning to"))[None]
print(f"loss {float(loss.data):.2f}, {weight_bytes:,} bytes of weights (measured)")

# %% [markdown]
# What does this machine report for two *identical* functions? A gain smaller than this is no gain.

# %%
write = lambda: model.generate(prompt, 32, temperature=0, use_cache=False)
noise, same = noise_floor(write, seconds=lab.seconds)
print(f"the same text written twice: {same.ratio}, so anything within {noise:.3f}× is noise (measured)")

# %% [markdown]
# ## 3. Build
#
# Below is all of a GPT but attention, on arrays. Each line treats every position by itself; positions meet in
# `attend`, and nowhere else. So that is the only place in which the past is needed.


# %%
def forward(tokens, start, attend):
    """Logits (B, T, V) of tokens (B, T), the first of which is position `start`.

    attend(layer, q, k, v) gets the queries, keys and values of these tokens, and gives y, all (B, H, T, D).
    """
    positions = np.arange(start, start + tokens.shape[1])
    x = model.token_embedding.weight.data[tokens] + model.position_embedding.weight.data[positions]
    for layer, block in enumerate(model.blocks):
        part, h = block.attention, infer(block.ln1, x)
        q, k, v = (split_heads(infer(proj, h)) for proj in (part.q_proj, part.k_proj, part.v_proj))
        x = x + infer(part.out_proj, join_heads(attend(layer, q, k, v)))
        x = x + block.mlp.infer(infer(block.ln2, x))
    return infer(model.lm_head, infer(model.ln_f, x))


def split_heads(x):
    """(B, T, H · D) to (B, H, T, D)."""
    return x.reshape(*x.shape[:2], model.num_heads, -1).swapaxes(1, 2)


def join_heads(y):
    """(B, H, T, D) to (B, T, H · D)."""
    return y.swapaxes(1, 2).reshape(y.shape[0], y.shape[2], -1)


# %% [markdown]
# ### 3.1 Attention
#
# Queries $q$ (B, H, T, D) look at keys and values (B, H, S, D), with $S \ge T$: the queries are the **last**
# $T$ of the $S$ positions. With $T = S$ that is a whole text, with $T = 1$ a new token and all before it.
#
# $$\text{scores} = \frac{q k^\top}{\sqrt{D}} \qquad y = \text{softmax}(\text{scores}) \, v$$
#
# A query sees the positions up to its own, so later ones get the score $-\infty$; `np.tri(T, S, shift)` may
# help. And $e^{100}$ is no float32: subtract each row's largest score first, which changes no quotient.


# %% build="attention"
def attention(q, k, v):
    """q (B, H, T, D), k and v (B, H, S, D), all float32: y (B, H, T, D), float32."""
    ### BEGIN SOLUTION
    steps, positions = q.shape[2], k.shape[2]
    scores = q @ k.swapaxes(2, 3) * q.shape[3] ** -0.5
    seen = np.tri(steps, positions, positions - steps, dtype=bool)
    scores = np.where(seen, scores, np.float32(-np.inf))
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights @ v
    ### END SOLUTION


# %% check="attention"
lab.check("attention", attention)
### BEGIN HIDDEN TESTS
lab.check("attention", attention, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.2 A cache
#
# Keys and values of a position never change once they are computed: later tokens change nothing about earlier
# ones. Keep them in two arrays that are allocated **once**: growing an array copies all of it each time.
#
# All layers append for the same new tokens, one after the other. So appending does not count; `advance` does,
# after the last layer.


# %% build="cache"
class KVCache:
    """Keys and values of every layer.

    keys, values: float32 arrays (layers, batch, heads, capacity, width)
    length: how many positions are filled
    """

    def __init__(self, layers, batch, heads, capacity, width):
        ### BEGIN SOLUTION
        self.keys = np.zeros((layers, batch, heads, capacity, width), np.float32)
        self.values = np.zeros((layers, batch, heads, capacity, width), np.float32)
        self.length = 0
        ### END SOLUTION

    def append(self, layer, k, v):
        """Write k and v (batch, heads, T, width) behind the first `length` positions of one layer.

        Returns that layer's keys and values up to and with the new ones, (batch, heads, length + T, width).
        `length` stays. ValueError if the new ones do not fit.
        """
        ### BEGIN SOLUTION
        end = self.length + k.shape[2]
        if end > self.keys.shape[3]:
            raise ValueError(f"the cache holds {self.keys.shape[3]} positions, {end} are needed")
        self.keys[layer, :, :, self.length : end] = k
        self.values[layer, :, :, self.length : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]
        ### END SOLUTION

    def advance(self, steps):
        """Count so many more positions as filled."""
        ### BEGIN SOLUTION
        self.length += steps
        ### END SOLUTION

    def reset(self):
        """Forget all positions; the memory stays."""
        ### BEGIN SOLUTION
        self.length = 0
        ### END SOLUTION


# %% check="cache"
lab.check("cache", KVCache)
### BEGIN HIDDEN TESTS
lab.check("cache", KVCache, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.3 Attention with a cache
#
# The new positions' queries over all positions so far. Two lines, from what you have.


# %% build="cached_attention"
def cached_attention(q, k, v, cache, layer):
    """q, k, v (B, H, T, D) of the new positions: y (B, H, T, D), with k and v appended to the layer."""
    ### BEGIN SOLUTION
    keys, values = cache.append(layer, k, v)
    return attention(q, keys, values)
    ### END SOLUTION


# %% check="cached_attention"
lab.check("cached_attention", cached_attention, KVCache)
### BEGIN HIDDEN TESTS
lab.check("cached_attention", cached_attention, KVCache, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.4 A step of the model
#
# Give `forward` the new tokens only, the position of the first of them, and a function that attends with the
# cache. The position matters: the model adds a vector for it, and a token that is told the wrong one still
# gives plausible text.


# %% build="step"
def step(forward, tokens, cache):
    """Logits (B, T, V) of tokens (B, T) that follow what the cache holds. Afterwards it holds them, too."""
    ### BEGIN SOLUTION
    logits = forward(tokens, cache.length, lambda layer, q, k, v: cached_attention(q, k, v, cache, layer))
    cache.advance(tokens.shape[1])
    return logits
    ### END SOLUTION


# %% check="step"
lab.check("step", step, KVCache)
### BEGIN HIDDEN TESTS
lab.check("step", step, KVCache, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.5 Generation
#
# Read the prompt in one piece (the *prefill*), choose a token from the logits of the last position, read that
# token, choose the next (the *decoding*). `choose` takes logits (B, V) and gives ids (B,). The last new token
# is never read. The cache may have been used before.


# %% build="generate"
def generate(forward, prompt, count, cache, choose):
    """Ids (B, T + count): the prompt (B, T), and behind it `count` new tokens, at least one."""
    ### BEGIN SOLUTION
    cache.reset()
    tokens = new = prompt
    for _ in range(count):
        logits = step(forward, new, cache)
        new = choose(logits[:, -1])[:, None]
        tokens = np.concatenate([tokens, new], axis=1)
    return tokens
    ### END SOLUTION


# %% check="generate"
lab.check("generate", generate, KVCache)
### BEGIN HIDDEN TESTS
lab.check("generate", generate, KVCache, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ### 3.6 The price
#
# How many bytes does such a cache take?


# %% build="cache_bytes"
def cache_bytes(layers, batch, heads, positions, width, number_bytes=4):
    """Bytes of all keys and values, at `number_bytes` for each number."""
    ### BEGIN SOLUTION
    return 2 * layers * batch * heads * positions * width * number_bytes
    ### END SOLUTION


# %% check="cache_bytes"
lab.check("cache_bytes", cache_bytes)
### BEGIN HIDDEN TESTS
lab.check("cache_bytes", cache_bytes, hidden=True)
### END HIDDEN TESTS

# %% [markdown]
# ## 4. Your code writes
#
# The same without a cache: the whole text is read again for each token. And two ways to choose.


# %%
def generate_uncached(forward, prompt, count, choose):
    tokens = prompt
    for _ in range(count):
        logits = forward(tokens, 0, lambda layer, q, k, v: attention(q, k, v))
        tokens = np.concatenate([tokens, choose(logits[:, -1])[:, None]], axis=1)
    return tokens


def new_cache(kind=KVCache):
    """An empty cache for one sequence of this model."""
    return kind(model.num_layers, 1, model.num_heads, model.max_seq_len, model.embed_dim // model.num_heads)


def likeliest(logits):
    return logits.argmax(axis=-1)


def sampler(seed, temperature=0.5):
    """Draws among the tokens, likely ones more often: the largest of logit + Gumbel noise."""
    rng = np.random.default_rng(seed)
    return lambda logits: (logits / temperature + rng.gumbel(size=logits.shape)).argmax(axis=-1)


cache = new_cache()
written = generate(forward, prompt, 90, cache, sampler(seed=1))
print(tokenizer.decode(written[0].tolist()))
again = generate_uncached(forward, prompt, 90, sampler(seed=1))
print(f"\nwithout the cache: {(written == again).mean():.0%} of the tokens are the same (measured)")

# %% [markdown]
# The same text is not proof enough: a small error may not change which token is likeliest. So compare the
# logits at **every** position, position 0 included, with those of tinytorch's model, which reads the text in
# one pass.

# %%
tokens = np.asarray(model.generate(prompt, 300, temperature=0.5, seed=0).data)
wanted = model.infer(tokens)[0]


def read(tokens, cache, pieces):
    """Logits (T, V) of a text (1, T) that is read in pieces of so many tokens."""
    cache.reset()
    ends = np.cumsum(pieces)
    return np.concatenate([step(forward, tokens[:, end - n : end], cache)[0] for n, end in zip(pieces, ends)])


first = prompt.shape[1]
pieces = [first] + [1] * (tokens.shape[1] - first)
off = np.abs(read(tokens, cache, pieces) - wanted).max(axis=1)
print(f"{len(off)} positions: off by at most {off.max():.1e}, at position 0 by {off[0]:.1e} (measured)")
print(f"the logits themselves reach {np.abs(wanted).max():.1f} (measured)")

# %% [markdown]
# ## 5. Measure
#
# ### Three sizes
#
# Your code against your code. Your guess is needed now.

# %%
start = prompt[:, :1]
cached_call = lambda count: lambda: generate(forward, start, int(count), cache, likeliest)
uncached_call = lambda count: lambda: generate_uncached(forward, start, int(count), likeliest)

guess = lab.prediction("cache")
for name, count in (("too small", 1), ("right", 32), ("large", 128)):
    result = race(uncached_call(count), cached_call(count), seconds=lab.seconds, noise=noise)
    print(f"{name:>9} ({count:>3} tokens): {result.ratio} as fast: {result.verdict} (measured)")

# %% [markdown]
# ### From how many tokens on does it pay?

# %%
pays = breakeven(
    uncached_call, cached_call, [1, 2, 4, 8, 16, 64] if quick else [1, 2, 4, 8, 16, 32, 64, 128, 256],
    seconds=lab.seconds / 4, refine=0, noise=noise,
)  # fmt: skip
print(f"the cache pays from {pays.answer} tokens (measured); you said {guess['pays_from']:g}")
viz.break_even(
    pays, guess=(guess["pays_from"], guess["ratio"]), title="Writing with a cache", x_label="new tokens"
)

# %% [markdown]
# Read the exponents from those races: on logarithmic axes, $N^p$ is a line with slope $p$.

# %%
totals = {
    "without": [np.median(race.seconds[0]) for race in pays.races],
    "with": [np.median(race.seconds[1]) for race in pays.races],
}
for name, seconds in totals.items():
    slope = np.polyfit(np.log(pays.sizes[-3:]), np.log(seconds[-3:]), 1)[0]
    print(f"{name:>8} the cache: time grows with the tokens to the power {slope:.2f} (measured)")

# %% [markdown]
# ### One more token
#
# What does the token at position $n$ cost? Yours both ways, and tinytorch's, which runs all layers of one
# token in a single call of C.

# %%
longest = np.tile(tokens, 4)[:, : model.max_seq_len]
theirs = model.new_cache()
model.infer(longest, theirs)
read(longest, cache, [model.max_seq_len])  # both are full now, and go back to whichever position is asked for


def one_more(n):
    """name → what computes the token at position n."""

    def yours():
        cache.length = n
        step(forward, longest[:, n : n + 1], cache)

    def tinytorch():
        theirs.lengths[:] = n
        model.infer(longest[:, n : n + 1], theirs)

    again = lambda: forward(longest[:, : n + 1], 0, lambda layer, q, k, v: attention(q, k, v))
    return {"yours, all again": again, "yours, cached": yours, "tinytorch, cached": tinytorch}


positions = [8, 32, 128] if quick else [8, 32, 128, 256, 512, 1023]
with model.unchanging(pack=True):
    races = [race_many(one_more(n), seconds=lab.seconds, noise=noise, compare=False) for n in positions]
series = []
for name in races[0].seconds:
    times = [race.time(name) for race in races]
    print(f"{name}, from position {positions[0]} to {positions[-1]}: {times[0]} to {times[-1]} (measured)")
    y, low, high = ([1e3 * getattr(time, part) for time in times] for part in ("value", "low", "high"))
    series.append({"name": name, "x": positions, "y": y, "low": low, "high": high})
viz.lines(series, title="One more token", x_label="position", y_label="ms", x_scale="log", y_scale="log")

# %% [markdown]
# A rising line against a flat one. Look closely: even the flat ones must rise where the text is long, since a
# new token still reads $n$ keys and values. And yours without a cache rises faster than $n$, since attention
# compares all positions with all others.
#
# ### In C
#
# What a kernel has to do here is the attention of one new position over those stored. Below is that in plain
# C. The cell is compiled, checked in a process of its own, and raced. It is yours: make it faster, and see
# what the compiler says of each loop. (`%ckernel --help attention_decode` tells what the function gets.
# Without a compiler the cell says so, and the lab goes on.)
#
# The slope in its picture is main memory's: a dot above it reads keys and values that lie in the CPU's cache.

# %%
# %load_ext tinytorch.course

# %% ckernel="attention_decode --name in_c"
# #include <math.h>
#
# void attention_decode(const float *q, const float *keys, const float *values, float *y,
#                       int heads, int length, int capacity, int d)
# {
#     for (int h = 0; h < heads; h++, q += d, y += d) {
#         const float *k = keys + (long)h * capacity * d, *v = values + (long)h * capacity * d;
#         float weights[length], largest = -INFINITY, sum = 0;
#         for (int t = 0; t < length; t++) {
#             float score = 0;
#             for (int i = 0; i < d; i++)
#                 score += q[i] * k[t * d + i];
#             weights[t] = score / sqrtf(d);
#             largest = fmaxf(largest, weights[t]);
#         }
#         for (int t = 0; t < length; t++)
#             sum += weights[t] = expf(weights[t] - largest);
#         for (int i = 0; i < d; i++)
#             y[i] = 0;
#         for (int t = 0; t < length; t++)
#             for (int i = 0; i < d; i++)
#                 y[i] += weights[t] / sum * v[t * d + i];
#     }
# }

# %% [markdown]
# ## 6. Break it
#
# **A single new token.** A cache saves the work for tokens that come later, and here none does.

# %%
print(gallery.run("cache_for_one_token", seconds=lab.seconds), "(measured)")

# %% [markdown]
# **A text that is known beforehand**, as in training, or when a model scores a text: all positions can be
# read in one pass. Through the cache, token by token, they become as many passes.

# %%
known = longest[:, :256]
races = race_many(
    {
        "one pass over 256 positions": lambda: read(known, cache, [256]),
        "256 passes over one position": lambda: read(known, cache, [1] * 256),
    },
    seconds=lab.seconds, noise=noise, compare=False,
)  # fmt: skip
for name in races.seconds:
    print(f"{name}: {races.time(name)} (measured)")

# %% [markdown]
# **A hole.** A common mistake: after the prefill, position 0 is empty, or each position lies one too far.
# Does one see it in the text?


# %%
class Holed(KVCache):
    """Loses what it held for position 0."""

    def append(self, layer, k, v):
        if self.length > 0:
            self.keys[layer, :, :, 0] = self.values[layer, :, :, 0] = 0
        return super().append(layer, k, v)


holed = new_cache(Holed)
print(tokenizer.decode(generate(forward, prompt, 60, holed, sampler(seed=1))[0].tolist()))
off = np.abs(read(tokens, holed, pieces) - wanted).max(axis=1)
print(f"\nlogits off by up to {off.max():.1g}, and by {off[:first].max():.1g} within the prompt (measured)")

# %% [markdown]
# It writes on, as if nothing had happened. Only the comparison with the uncached model shows it: that is why
# the checks above look at every position.
#
# **Memory.** How many sequences of full length until their caches weigh as much as the weights?

# %%
for name, layers, kv_heads, length, width, number_bytes, weights in (
    ("yours", model.num_layers, model.num_heads, model.max_seq_len, cache.keys.shape[4], 4, weight_bytes / 4),
    ("GPT-2 XL", 48, 25, 1024, 64, 2, 1.5e9),
    ("Llama 2 7B", 32, 32, 4096, 128, 2, 6.7e9),
    ("Llama 3 8B", 32, 8, 8192, 128, 2, 8.0e9),
):
    held = cache_bytes(layers, 1, kv_heads, length, width, number_bytes)
    count = weights * number_bytes / held
    print(f"{name:>10}: {held / 1e6:7,.1f} MB for {length} positions; {count:4.1f} such caches weigh as much")
print("(modelled, from quoted sizes, at two bytes for each number of the large ones)")

# %% [markdown]
# A server answers many people at once, so it runs out of memory for caches first, not for weights. Llama 3
# holds twice as many positions in half the bytes: four heads of queries share one of keys and values
# (*grouped-query attention*).
#
# ## 7. Explain the gap
#
# 256 new tokens: $N/2$ promised 128×, and you have measured far less. Look again at the two lines that race
# one pass over 256 positions against 256 passes over one. They do about as many multiplications. Why is
# the promise not kept?
#
# - (a) attention over the stored positions takes as long as all the rest
# - (b) a pass over many positions costs far less for each of them: every weight that is read and every call
#   that is made serves all of them, and with the cache only one
# - (c) the cache is copied for every new token
# - (d) choosing the next token takes most of the time

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
# In one or two sentences: a server decodes 32 sequences together, each with its own cache. What does that do
# to the time for a token of one of them, and to the tokens in a second, and what sets the limit?

# %% [markdown] answer="gap" points=1
# ### BEGIN SOLUTION
# Each weight is read once for 32 tokens, so a step takes hardly longer and gives 32 tokens: throughput grows
# many times, each sequence waits a little longer. The caches are not shared; their bytes, read for each token
# and held in memory, grow with the batch and set the limit.
# ### END SOLUTION

# %% [markdown]
# ## 8. When, and when not
#
# | Use a cache when | Leave it when |
# |---|---|
# | tokens are written one after the other | all are known: training, scoring or embedding a text |
# | many answers share a prompt: fill it once, copy it | one token is asked for, as in a classifier |
# | memory holds batch × length × layers of it | a larger batch is worth more than the length |
# | earlier tokens do not change with later ones (causal) | attention looks both ways, as in BERT |
#
# ## 9. The whole model
#
# The same text, five ways. Accuracy is simple here: the same tokens, or not.

# %%
count = 20 if quick else 90
greedy = lambda **options: model.generate(prompt, count, temperature=0, **options).data
forms = {
    "yours, all again": lambda: generate_uncached(forward, prompt, count, likeliest),
    "yours, cached": lambda: generate(forward, prompt, count, cache, likeliest),
    "tinytorch, all again": lambda: greedy(use_cache=False),
    "tinytorch, cached": greedy,
    "tinytorch, INT8 cache": lambda: greedy(cache=model.new_cache(dtype="int8")),
}
races = race_many(forms, seconds=5 * lab.seconds, noise=noise, compare=False)
reference = greedy(use_cache=False)
print(tokenizer.decode(reference[0].tolist()))
for name, form in forms.items():
    differs = np.append((form() != reference)[0, first:], True)
    print(f"{name:>21}: {races.time(name)}, the first {differs.argmax()} of {count} tokens agree (measured)")

# %% [markdown]
# INT8 keys and values take about a quarter of the bytes. Where two tokens are nearly as likely, their small
# error can decide, and from there on it is another text, no worse and not the same.
#
# And the GPT on your kernel in C. It runs layer by layer now, not in a single call:


# %%
def on_your_kernel():
    with kernels.use(attention_decode=in_c):
        return greedy()


agree = (on_your_kernel() == reference).mean()
result = race(greedy, on_your_kernel, seconds=lab.seconds, noise=noise)
print(f"{agree:.0%} of the tokens agree; on your kernel it runs at {result.ratio} of the speed (measured)")

# %% [markdown]
# ## 10. In production
#
# - **Every server of language models keeps one.** Decoding reads all weights for each step, so it is bound by
#   memory bandwidth, and batches are what makes it affordable: Pope et al., [Efficiently scaling transformer
#   inference](https://arxiv.org/abs/2211.05102) (2022).
# - **vLLM** keeps the cache in pages, as an operating system keeps memory, so that sequences of different
#   lengths leave no holes: Kwon et al., [PagedAttention](https://arxiv.org/abs/2309.06180) (2023).
# - **Fewer keys and values**: one head of them for all queries, Shazeer, [Fast transformer
#   decoding](https://arxiv.org/abs/1911.02150) (2019); or one for each group, Ainslie et al.,
#   [GQA](https://arxiv.org/abs/2305.13245) (2023), as in [Llama 3](https://arxiv.org/abs/2407.21783).
# - **Fewer positions**: [Mistral 7B](https://arxiv.org/abs/2310.06825) keeps a window of the last 4096. In
#   tinytorch: `enable_kv_cache(model, window=…)`.
# - **Fewer bytes**: [llama.cpp](https://github.com/ggml-org/llama.cpp) and
#   [Transformers](https://huggingface.co/docs/transformers/kv_cache) can quantize the cache. In tinytorch:
#   `dtype="int8"`.
# - **Shared prompts**: many answers to one prompt need one prefill; `KVCache.fork` does that here.
