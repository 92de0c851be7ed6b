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
# # TinyTorch in ten minutes
#
# From a single tensor to a trained network that runs in 8-bit integers, faster, on your own machine. Every
# number that appears below is measured while you watch; none is written into the text.

# %%
import numpy as np

import tinytorch as tt
from tinytorch import kernels, viz
from tinytorch.acceleration import optimize
from tinytorch.datasets import load_digits
from tinytorch.experiments.records import Series
from tinytorch.models.cnn import DigitsCNN
from tinytorch.quantization import quantize, quantize_naive
from tinytorch.timing import race_many

np.random.seed(0)
kernels.cpu_info()

# %% [markdown]
# ## 1. A tensor remembers how it was made
#
# `backward` walks that history once and leaves a gradient with every tensor that asked for one. Here
# $y = \sum x^2$, so $dy/dx = 2x$.

# %%
x = tt.Tensor([1.0, 2.0, 3.0], requires_grad=True)
y = (x * x).sum()
y.backward()
x.grad

# %% [markdown]
# ## 2. Train a network on handwritten digits
#
# 1,347 images to learn from, 450 held out. They ship with the package; nothing is downloaded.

# %%
train_images, train_labels = load_digits(size=32, split="train")
test_images, test_labels = load_digits(size=32, split="test")
viz.images(test_images[:8, 0], [str(label) for label in test_labels[:8]])

# %%
model = DigitsCNN()
trainer = tt.Trainer(model, tt.Adam(model.parameters(), lr=2e-3), tt.CrossEntropyLoss())
loader = tt.DataLoader(
    tt.TensorDataset(tt.Tensor(train_images), tt.Tensor(train_labels)), batch_size=64, shuffle=True, seed=0
)
for epoch in range(4):
    print(f"epoch {epoch + 1}: loss {trainer.train_epoch(loader):.3f}")
model.eval()

# %% [markdown]
# ## 3. The same network, three ways
#
# - **float32** at its best: no graph, batch norm folded into the convolutions, weights packed once.
# - **naive INT8**: weights stored in 8 bits and turned back into floats on every call.
# - **INT8**: integers from the input to the logits.
#
# Before you run the next cell: which is fastest, and by how much?

# %%
forms = {
    "float32": optimize(model),
    "naive INT8": quantize_naive(model),
    "INT8": quantize(model, train_images[:256]),
}
for name, form in forms.items():
    right = (form.predict(test_images) == test_labels).mean()
    print(f"{name:>10}: {form.nbytes:>9,} bytes, {right:.1%} of {len(test_labels)} held-out images right")

# %% [markdown]
# A race is fair when the contenders take turns on the same machine, in the same minute. `race_many` does
# that and gives each ratio an interval.

# %%
batch = np.ascontiguousarray(test_images[:64])
calls = {name: (lambda form=form: form(batch)) for name, form in forms.items()}
races = race_many(calls, compare=False)  # integers round, so the answers differ a little by design
gains = [races.between("float32", name).ratio for name in forms]
for name, gain in zip(forms, gains, strict=True):
    print(f"{name:>10}: {races.time(name)}, {gain} as fast as float32")

# %%
viz.bars(
    [vars(Series.of("speed", list(forms), gains))],
    title="Batch of 64 digits",
    y_label="times as fast as float32",
    level=1.0,
)

# %% [markdown]
# ## 4. Put your own kernel to work
#
# Every kernel can be replaced. Below, a matrix product of your own takes the place of ours, and the whole
# network runs on it. The answers stay the same; the time does not.


# %%
def my_matmul(a, b):
    return np.stack([row @ b for row in a])


with kernels.use(matmul=my_matmul):
    mine = model(tt.Tensor(test_images[:2])).data
np.abs(mine - model(tt.Tensor(test_images[:2])).data).max()

# %% [markdown]
# ## Where next
#
# `tinytorch report` measures what each technique is worth on this machine: acceleration, quantization,
# pruning, caching.
