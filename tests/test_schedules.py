"""Learning rates over time, against PyTorch's definitions written out."""

import math

import numpy as np
import pytest

from tinytorch.schedules import CosineSchedule, OneCycleSchedule, StepSchedule, WarmupSchedule


def rates(schedule, n):
    return [schedule.get_lr(i) for i in range(n)]


def test_cosine():
    expected = [0.01 + 0.09 * (1 + math.cos(math.pi * min(i, 10) / 10)) / 2 for i in range(13)]
    assert rates(CosineSchedule(0.1, 0.01, 10), 13) == pytest.approx(expected)


def test_step():
    assert rates(StepSchedule(1.0, step_size=3, gamma=0.5), 7) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_warmup_rises_then_follows():
    assert rates(WarmupSchedule(1.0, 3), 5) == [0.25, 0.5, 0.75, 1, 1]
    after = StepSchedule(1.0, step_size=2, gamma=0.1)
    assert rates(WarmupSchedule(after, 2), 6) == pytest.approx([1 / 3, 2 / 3, 1, 1, 0.1, 0.1])


def test_one_cycle_rises_and_falls():
    lrs = rates(OneCycleSchedule(1.0, total_steps=20, rise=0.25), 25)
    assert lrs[0] == pytest.approx(1 / 25) and lrs[4] == pytest.approx(1.0)
    assert lrs[19] == pytest.approx(1 / 25 / 1e4) and lrs[20:] == [lrs[19]] * 5
    assert np.all(np.diff(lrs[:5]) > 0) and np.all(np.diff(lrs[4:20]) < 0)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10])
def test_one_cycle_of_few_steps(steps):
    assert all(0 < lr <= 1 for lr in rates(OneCycleSchedule(1.0, steps), steps + 2))


def test_they_are_pytorchs():
    torch = pytest.importorskip("torch")

    def theirs(make):
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4)
        scheduler, lrs = make(optimizer), []
        for _ in range(100):
            lrs.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return lrs

    library = torch.optim.lr_scheduler
    for ours, make in (
        (CosineSchedule(0.4, 0.02, 100), lambda o: library.CosineAnnealingLR(o, 100, eta_min=0.02)),
        (StepSchedule(0.4, 7, 0.3), lambda o: library.StepLR(o, 7, 0.3)),
        (WarmupSchedule(0.4, 9), lambda o: library.LinearLR(o, start_factor=0.1, total_iters=9)),
        (OneCycleSchedule(0.4, 101), lambda o: library.OneCycleLR(o, 0.4, total_steps=101)),
    ):
        np.testing.assert_allclose(rates(ours, 100), theirs(make), rtol=1e-9)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CosineSchedule(0.1, 0.2), "needs 0 ≤ min_lr ≤ max_lr"),
        (lambda: CosineSchedule(total_epochs=0), "total_epochs must be positive"),
        (lambda: StepSchedule(-1), "lr must be a positive"),
        (lambda: StepSchedule(step_size=0), "step_size must be positive"),
        (lambda: StepSchedule(gamma=0), "gamma must be a positive"),
        (lambda: WarmupSchedule(0.1, -1), "warmup must be positive"),
        (lambda: WarmupSchedule("fast", 1), "after must be a positive"),
        (lambda: OneCycleSchedule(0.1, 0), "total_steps must be positive"),
        (lambda: OneCycleSchedule(0.1, 10, rise=1.0), "rise must lie between 0 and 1"),
        (lambda: OneCycleSchedule(0.1, 10, start_factor=0.5), "factors must be at least 1"),
    ],
)
def test_misuse(make, message):
    with pytest.raises(ValueError, match=message):
        make()
