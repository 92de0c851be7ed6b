"""Sparsity rises as the schedule says while the model trains, and what is gone stays gone."""

from itertools import pairwise

import numpy as np
import pytest

from tests.pruning.models import RNG, mlp
from tinytorch import Tensor
from tinytorch.callbacks import Callback
from tinytorch.dataloader import DataLoader, TensorDataset
from tinytorch.losses import CrossEntropyLoss
from tinytorch.optimizers import Adam
from tinytorch.pruning import CubicSparsity, IterativeSparsity, PruneGradually, prunable
from tinytorch.training import Trainer

X, Y = RNG.standard_normal((70, 40)), RNG.integers(0, 10, 70)


def loader():
    return DataLoader(TensorDataset(Tensor(X), Tensor(Y)), batch_size=10)


def test_cubic_schedule_is_the_formula():
    schedule = CubicSparsity(0.9, end=110, begin=10, every=10, initial=0.2)
    for step in range(10, 110, 10):
        expected = 0.9 + (0.2 - 0.9) * (1 - (step - 10) / 100) ** 3
        assert schedule.get_sparsity(step) == pytest.approx(expected)
        assert schedule.get_sparsity(step + 9) == schedule.get_sparsity(step)  # cuts every 10 steps
    assert schedule.get_sparsity(9) == 0.0
    assert schedule.get_sparsity(110) == schedule.get_sparsity(10**6) == 0.9


def test_iterative_schedule_cuts_the_same_share_of_what_is_left():
    schedule = IterativeSparsity(0.875, rounds=3, every=5, begin=2)
    assert [schedule.get_sparsity(step) for step in (1, 2, 7, 12, 99)] == pytest.approx(
        [0, 0.5, 0.75, 0.875, 0.875]
    )
    assert IterativeSparsity(0.9).get_sparsity(0) == pytest.approx(0.9)


class Watch(Callback):
    """How sparse the model is after each batch and at the end of each epoch."""

    def __init__(self):
        self.seen = []

    def on_step_end(self, trainer, loss):
        self.seen.append(np.mean([w.data.ravel() == 0 for w in prunable(trainer.model)[:1]]))

    def on_epoch_end(self, trainer):
        self.on_step_end(trainer, 0.0)


@pytest.mark.parametrize("accumulation_steps", [1, 2])
@pytest.mark.parametrize(
    "schedule", [CubicSparsity(0.8, end=10, every=2), IterativeSparsity(0.8, rounds=3, every=3)]
)
def test_the_model_follows_its_schedule(schedule, accumulation_steps):
    model = mlp()
    pruning, watch = PruneGradually(schedule, scope="layer"), Watch()
    optimizer = Adam(model.parameters(), lr=0.01)
    trainer = Trainer(model, optimizer, CrossEntropyLoss(), progress=False, callbacks=[pruning, watch])
    trainer.fit(loader(), 4, accumulation_steps=accumulation_steps)
    assert watch.seen == sorted(watch.seen) and watch.seen[-1] == pytest.approx(0.8, abs=0.01)
    assert [sparsity for _, sparsity in pruning.history] == sorted({s for _, s in pruning.history})
    assert all(sparsity == schedule.get_sparsity(step) for step, sparsity in pruning.history)
    assert trainer.optimizer is optimizer  # given back
    trainer.fit(loader(), 1)  # and the zeros are held in a further fit
    for weight, mask in zip(pruning.masks.weights, pruning.masks.masks, strict=True):
        assert (weight.data[~mask] == 0).all() and weight.data[mask].all()


def test_each_cut_keeps_the_cuts_before():
    model = mlp()
    pruning = PruneGradually(CubicSparsity(0.9, end=20, every=4), block=4)
    gone = []

    class Remember(Callback):
        def on_step_end(self, trainer, loss):
            gone.append([~mask for mask in pruning.masks.masks] if pruning.masks else None)

    optimizer = Adam(model.parameters(), lr=0.05)
    trainer = Trainer(model, optimizer, CrossEntropyLoss(), progress=False, callbacks=[pruning, Remember()])
    trainer.fit(loader(), 4)
    for before, after in pairwise([masks for masks in gone if masks]):
        assert all(not (b & ~a).any() for b, a in zip(before, after, strict=True))
