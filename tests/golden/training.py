"""What optimizers do with the parameters over 100 steps, and schedules with the learning rate."""

import numpy as np

STEPS = 100
KEPT = [0, 1, 9, 49, 99]  # the steps whose parameters are stored
BATCH, FEATURES, HIDDEN = 8, 4, 3

# Class, options, options of the second of two groups.
OPTIMIZERS = {
    "sgd": ("SGD", dict(lr=0.1), None),
    "sgd_decay": ("SGD", dict(lr=0.1, weight_decay=0.05), None),
    "sgd_momentum": ("SGD", dict(lr=0.05, momentum=0.9), None),
    "sgd_nesterov": ("SGD", dict(lr=0.05, momentum=0.8, weight_decay=0.01, nesterov=True), None),
    "sgd_groups": ("SGD", dict(lr=0.05, momentum=0.9), dict(lr=0.01, momentum=0.5, weight_decay=0.1)),
    "adam": ("Adam", dict(lr=0.02), None),
    "adam_decay": ("Adam", dict(lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1), None),
    "adam_groups": ("Adam", dict(lr=0.02), dict(lr=0.05, betas=(0.5, 0.9))),
    "adamw": ("AdamW", dict(lr=0.02), None),
    "adamw_decay": ("AdamW", dict(lr=0.02, betas=(0.8, 0.95), weight_decay=0.3), None),
    "adamw_groups": ("AdamW", dict(lr=0.02), dict(weight_decay=0.0)),
    "rmsprop": ("RMSprop", dict(lr=0.01), None),
    "rmsprop_decay": ("RMSprop", dict(lr=0.01, alpha=0.9, eps=1e-6, weight_decay=0.1), None),
    "rmsprop_momentum": ("RMSprop", dict(lr=0.003, momentum=0.9), None),
    "rmsprop_centered": ("RMSprop", dict(lr=0.003, centered=True, momentum=0.5), None),
    "rmsprop_groups": ("RMSprop", dict(lr=0.01), dict(lr=0.002, centered=True)),
}

# Ours, and PyTorch's scheduler of an optimizer whose rate is 0.4.
SCHEDULES = {
    "cosine": (
        lambda s: s.CosineSchedule(0.4, 0.02, 100), lambda s, o: s.CosineAnnealingLR(o, 100, eta_min=0.02)
    ),
    "step": (lambda s: s.StepSchedule(0.4, 7, 0.3), lambda s, o: s.StepLR(o, 7, 0.3)),
    "warmup": (
        lambda s: s.WarmupSchedule(0.4, 9), lambda s, o: s.LinearLR(o, start_factor=0.1, total_iters=9)
    ),
    "warmup_cosine": (
        lambda s: s.WarmupSchedule(s.CosineSchedule(0.4, 0.0, 91), 9),
        lambda s, o: s.SequentialLR(
            o, [s.LinearLR(o, start_factor=0.1, total_iters=9), s.CosineAnnealingLR(o, 91)], [9]
        ),
    ),
    "one_cycle": (
        lambda s: s.OneCycleSchedule(0.4, STEPS), lambda s, o: s.OneCycleLR(o, 0.4, total_steps=STEPS)
    ),
    "one_cycle_early": (
        lambda s: s.OneCycleSchedule(0.4, STEPS, rise=0.1, start_factor=10, end_factor=50),
        lambda s, o: s.OneCycleLR(
            o, 0.4, total_steps=STEPS, pct_start=0.1, div_factor=10, final_div_factor=50
        ),
    ),
}  # fmt: skip


def trajectory(tensor, optim, name, dtype=np.float32, epoch=None):
    """The parameters after some steps of a small regression, one row for each, and every loss.

    `epoch(optimizer)`, if given, gives a function that is called after each step.
    """
    rng = np.random.default_rng(0)
    shapes = [(FEATURES, HIDDEN), (HIDDEN,), (HIDDEN, 1)]
    params = [tensor(rng.standard_normal(shape).astype(dtype)) for shape in shapes]
    for parameter in params:
        parameter.requires_grad = True
    kind, options, second = OPTIMIZERS[name]
    groups = params if second is None else [{"params": params[:1]}, {"params": params[1:], **second}]
    optimizer = getattr(optim, kind)(groups, **options)
    after = epoch(optimizer) if epoch else (lambda: None)
    kept, losses = [], []
    for step in range(STEPS):
        x = rng.standard_normal((BATCH, FEATURES))
        target = np.sin(x.sum(axis=1, keepdims=True))
        w, b, v = params
        error = (tensor(x.astype(dtype)) @ w + b).tanh() @ v - tensor(target.astype(dtype))
        loss = (error * error).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after()
        losses.append(loss.item())
        if step in KEPT:
            kept.append(np.concatenate([np.ravel(p.detach().numpy().copy()) for p in params]))
    return {"params": np.array(kept), "losses": np.array(losses)}


def rates(name):
    """PyTorch's learning rates."""
    import torch

    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    scheduler, rates = SCHEDULES[name][1](torch.optim.lr_scheduler, optimizer), []
    for _ in range(STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step() if len(rates) < STEPS else None
    return np.array(rates)


def make():
    import torch

    stored = {f"schedule_{name}": rates(name) for name in SCHEDULES}
    for name in OPTIMIZERS:
        for key, value in trajectory(torch.from_numpy, torch.optim, name).items():
            stored[f"{name}/{key}"] = value.astype(np.float32)
    return stored
