"""Schedules, clipping, the training loop, and checkpoints that survive everything but being damaged."""

import json
import math
import random

import numpy as np
import pytest

from tinytorch.activations import ReLU, Sigmoid, Tanh
from tinytorch.dataloader import DataLoader, TensorDataset
from tinytorch.interop import safetensors
from tinytorch.layers import Dropout, Flatten, Linear, Sequential
from tinytorch.losses import BinaryCrossEntropyLoss, CrossEntropyLoss, MSELoss
from tinytorch.optimizers import SGD, Adam, AdamW
from tinytorch.spatial import BatchNorm2d, Conv2d
from tinytorch.tensor import Tensor
from tinytorch.training import CheckpointError, CosineSchedule, Trainer, clip_grad_norm


def data(n=30, batch_size=8, **options):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 4)), rng.integers(0, 3, n)
    return DataLoader(TensorDataset(Tensor(x), Tensor(y)), batch_size, **options)


def classifier(seed=0):
    np.random.seed(seed)
    return Sequential(Linear(4, 8), ReLU(), Dropout(0.2), Linear(8, 3))


def trainer(model=None, optimizer=Adam, scheduler=True, **options):
    model = model or classifier()
    schedule = CosineSchedule(0.05, 0.001, 6) if scheduler else None
    return Trainer(
        model, optimizer(model.parameters(), lr=0.05), CrossEntropyLoss(), schedule, progress=False, **options
    )


def weights(model):
    return np.concatenate([parameter.data.ravel() for parameter in model.parameters()])


class TestCosineSchedule:
    def test_values(self):
        schedule = CosineSchedule(max_lr=1.0, min_lr=0.2, total_epochs=10)
        assert schedule.get_lr(0) == 1.0
        assert math.isclose(schedule.get_lr(5), 0.6)
        assert schedule.get_lr(10) == schedule.get_lr(1000) == pytest.approx(0.2)

    def test_misuse(self):
        for arguments in ((0.1, 0.2, 10), (0.1, -0.1, 10), (0.1, 0.01, 0)):
            with pytest.raises(ValueError, match="CosineSchedule"):
                CosineSchedule(*arguments)


class TestClipGradNorm:
    def params(self, *grads):
        params = [Tensor(np.zeros(np.shape(grad)), requires_grad=True) for grad in grads]
        for parameter, grad in zip(params, grads, strict=True):
            parameter.grad = grad
        return params

    @pytest.mark.parametrize("kind", [np.float32, np.float64, Tensor])
    def test_common_norm(self, kind):
        params = self.params(
            *(kind(np.array(v)) if kind is Tensor else np.array(v, kind) for v in ([3.0, 0.0], [4.0]))
        )
        assert clip_grad_norm(params, 1.0) == pytest.approx(5.0)
        assert clip_grad_norm(params, 1.0) == pytest.approx(1.0, abs=1e-5)
        assert np.asarray(params[1].grad.data if kind is Tensor else params[1].grad) == pytest.approx(
            0.8, abs=1e-5
        )

    def test_small_gradients_stay(self):
        params = self.params(np.array([0.3], np.float32))
        clip_grad_norm(params, 1.0)
        assert params[0].grad == np.float32(0.3)

    def test_none_and_large_values(self):
        params = [*self.params(np.full(4, 1e30, np.float32)), Tensor([1.0], requires_grad=True)]
        assert clip_grad_norm(params) == pytest.approx(2e30)
        assert np.allclose(params[0].grad, 0.5)

    def test_not_finite(self):
        with pytest.raises(ValueError, match="norm is nan"):
            clip_grad_norm(self.params(np.array([np.nan])))
        with pytest.raises(ValueError, match="max_norm"):
            clip_grad_norm([], max_norm=0)


class TestTrainer:
    def test_history_and_counts(self):
        t = trainer()
        t.fit(data(), 3, eval_loader=data())
        assert (t.epoch, t.step) == (3, 12)
        assert {name: len(values) for name, values in t.history.items()} == {
            "train_loss": 3, "eval_loss": 3, "learning_rates": 3,
        }  # fmt: skip
        assert t.history["learning_rates"][0] == 0.05 > t.history["learning_rates"][1]

    def test_loss_is_the_mean_over_samples(self):
        t = trainer(scheduler=False)
        t.model.eval()
        x, y = data().dataset.tensors
        expected = t.loss_fn(t.model(x), y).item()
        assert t.evaluate(data(batch_size=7))[0] == pytest.approx(expected, rel=1e-6)

    @pytest.mark.parametrize(("batch_size", "steps"), [(8, 2), (7, 3), (4, 8)])
    def test_accumulated_batches_equal_one_large_batch(self, batch_size, steps):
        """Also where the last batch, and the last group of batches, are incomplete."""
        ends = []
        for size, accumulation in ((batch_size, steps), (batch_size * steps, 1)):
            np.random.seed(0)
            model = Sequential(Linear(4, 8), Tanh(), Linear(8, 3))
            t = trainer(model, SGD, scheduler=False)
            t.train_epoch(data(30, size), accumulation)
            assert t.step == math.ceil(30 / (batch_size * steps))
            ends.append(weights(model))
        np.testing.assert_allclose(*ends, atol=1e-6)

    def test_plain_loop_gives_the_same(self):
        t = trainer(scheduler=False)
        t.train_epoch(data())
        model, loss_fn = classifier(), CrossEntropyLoss()
        optimizer = Adam(model.parameters(), lr=0.05)
        for x, y in data():
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            optimizer.step()
        assert np.array_equal(weights(t.model), weights(model))

    def test_clipping_limits_the_step(self):
        t = trainer(optimizer=SGD, grad_clip_norm=1e-3, scheduler=False)
        before = weights(t.model)
        t.train_epoch(data(batch_size=30))
        assert np.linalg.norm(weights(t.model) - before) == pytest.approx(0.05 * 1e-3, rel=1e-2)

    def test_evaluation_changes_nothing(self):
        t = trainer()
        t.model.train()
        before = weights(t.model)
        assert t.evaluate(data()) == t.evaluate(data())  # dropout is off
        assert np.array_equal(weights(t.model), before) and t.model.training and t.training_mode
        assert all(parameter.grad is None for parameter in t.model.parameters())

    def test_accuracy(self):
        class Fixed:
            def __init__(self, outputs):
                self.outputs = np.asarray(outputs)

            def forward(self, x):
                return Tensor(self.outputs[x.data.astype(int).ravel()])

            def parameters(self):
                return [Tensor([0.0], requires_grad=True)]

        def accuracy(outputs, targets, loss_fn):
            model = Fixed(outputs)
            t = Trainer(model, SGD(model.parameters()), loss_fn, progress=False)
            n = len(outputs)
            return t.evaluate(
                DataLoader(TensorDataset(Tensor(np.arange(n)), Tensor(np.asarray(targets))), 2)
            )[1]

        assert accuracy([[1, 0], [0, 1], [0, 1]], [0, 1, 0], CrossEntropyLoss()) == pytest.approx(2 / 3)
        assert accuracy([[1, 0], [0, 1]], [[1.0, 0], [0, 1]], MSELoss()) == 1
        assert accuracy([[0.9], [0.2], [0.6]], [[1.0], [0], [0]], BinaryCrossEntropyLoss()) == pytest.approx(
            2 / 3
        )
        assert math.isnan(accuracy([[0.9], [0.2]], [[3.5], [0]], MSELoss()))

    def test_models_that_are_not_modules(self):
        class Plain:
            def __init__(self):
                self.weight = Tensor(np.ones((4, 3)), requires_grad=True)

            def forward(self, x):
                return x @ self.weight

            def parameters(self):
                return [self.weight]

        model = Plain()
        t = Trainer(model, SGD(model.parameters()), CrossEntropyLoss(), progress=False)
        t.train_epoch(data())
        assert model.training is True

    def test_progress_bar(self, capsys):
        t = trainer()
        t.progress = True
        t.train_epoch(data())
        assert "epoch 1" in capsys.readouterr().err

    def test_misuse(self):
        with pytest.raises(ValueError, match="no batches"):
            trainer().train_epoch([])
        with pytest.raises(ValueError, match="no batches"):
            trainer().evaluate([])
        with pytest.raises(ValueError, match=r"pair \(inputs, targets\)"):
            trainer().train_epoch([Tensor(np.zeros((2, 4)))])
        with pytest.raises(ValueError, match="at least 1"):
            trainer().train_epoch(data(), accumulation_steps=0)
        with pytest.raises(FloatingPointError, match="batch 1 is nan"):
            trainer().train_epoch([(Tensor(np.full((2, 4), np.nan)), Tensor([0, 1]))])

    def test_learns_xor(self):
        np.random.seed(1)
        model = Sequential(Linear(2, 8), Tanh(), Linear(8, 1), Sigmoid())
        x, y = Tensor([[0, 0], [0, 1], [1, 0], [1, 1]]), Tensor([[0], [1], [1], [0]])
        t = Trainer(model, Adam(model.parameters(), lr=0.05), BinaryCrossEntropyLoss(), progress=False)
        loader = DataLoader(TensorDataset(x, y), 4)
        t.fit(loader, 200)
        loss, accuracy = t.evaluate(loader)
        assert accuracy == 1 and loss < 0.05


def image_trainer(optimizer=Adam):
    """Everything that has state: dropout, running statistics, moments, a schedule, a shuffled loader."""
    np.random.seed(7)
    model = Sequential(Conv2d(1, 2, 3), BatchNorm2d(2), ReLU(), Flatten(), Dropout(0.3), Linear(32, 3))
    rng = np.random.default_rng(0)
    images, labels = Tensor(rng.normal(size=(24, 1, 6, 6))), Tensor(rng.integers(0, 3, 24))
    schedule = CosineSchedule(0.05, 0.001, 6)
    t = Trainer(model, optimizer(model.parameters()), CrossEntropyLoss(), schedule, progress=False)
    return t, TensorDataset(images, labels)


class TestCheckpoints:
    @pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW])
    @pytest.mark.parametrize("seed", [None, 3])
    def test_resumed_run_equals_uninterrupted_run(self, tmp_path, optimizer, seed):
        if optimizer is SGD:
            optimizer = lambda params: SGD(params, momentum=0.9)  # noqa: E731
        whole, dataset = image_trainer(optimizer)
        whole.fit(DataLoader(dataset, 5, shuffle=True, seed=seed), 4)
        first, dataset = image_trainer(optimizer)
        first.fit(DataLoader(dataset, 5, shuffle=True, seed=seed), 2)
        first.save_checkpoint(tmp_path / "half")
        np.random.seed(99)
        random.seed(99)
        second, dataset = image_trainer(optimizer)
        second.load_checkpoint(tmp_path / "half")
        second.fit(DataLoader(dataset, 5, shuffle=True, seed=seed), 2)
        assert second.history == whole.history and (second.epoch, second.step) == (whole.epoch, whole.step)
        for name, array in whole.model.state_dict().items():
            assert np.array_equal(second.model.state_dict()[name], array), name

    def test_metadata_is_json_and_arrays_are_plain(self, tmp_path):
        t, dataset = image_trainer()
        t.fit(DataLoader(dataset, 8), 1)
        t.save_checkpoint(tmp_path / "c")
        arrays, header = safetensors.load_file(tmp_path / "c")
        assert header["version"] == "2" and json.loads(header["state"])["epoch"] == 1
        assert {"model/layers.1.running_var", "optimizer/v_buffers/0"} <= set(arrays)
        assert [path.name for path in tmp_path.iterdir()] == ["c"]

    def save(self, tmp_path):
        t, dataset = image_trainer()
        t.fit(DataLoader(dataset, 8), 1)
        path = tmp_path / "checkpoint"
        t.save_checkpoint(path)
        return path

    def check_refused(self, path, match, make=image_trainer, error=CheckpointError):
        t, _ = make()
        before = t.model.state_dict(), t.optimizer.state_dict(), np.random.get_state()[1].copy()
        with pytest.raises(error, match=match):
            t.load_checkpoint(path)
        assert all(np.array_equal(before[0][name], array) for name, array in t.model.state_dict().items())
        assert str(before[1]) == str(t.optimizer.state_dict())
        assert np.array_equal(before[2], np.random.get_state()[1])
        assert t.epoch == 0 and t.history["train_loss"] == []

    @pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.7, 0.999])
    def test_cut_short(self, tmp_path, share):
        path = self.save(tmp_path)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])
        self.check_refused(path, "not a whole checkpoint")

    def test_flipped_bits(self, tmp_path):
        path = self.save(tmp_path)
        damaged = bytearray(path.read_bytes())
        for i in range(len(damaged) // 3, len(damaged) // 3 + 40):
            damaged[i] ^= 0xFF
        path.write_bytes(damaged)
        self.check_refused(path, "not a whole checkpoint")

    @pytest.mark.parametrize("content", [b"hello", b"\x80\x04]\x94."])
    def test_other_files(self, tmp_path, content):
        (tmp_path / "other").write_bytes(content)
        self.check_refused(tmp_path / "other", "not a whole checkpoint")
        np.savez(tmp_path / "arrays.npz", a=np.ones(3))
        self.check_refused(tmp_path / "arrays.npz", "not a whole checkpoint")
        self.check_refused(tmp_path / "nothing.npz", "nothing", error=FileNotFoundError)

    def test_other_version(self, tmp_path):
        path = self.save(tmp_path)
        arrays, header = safetensors.load_file(path)
        safetensors.save_file(arrays, path, {**header, "version": "99"})
        self.check_refused(path, "version '99'; this release reads")

    def test_other_model(self, tmp_path):
        def other():
            model = Sequential(
                Conv2d(1, 3, 3), BatchNorm2d(3), ReLU(), Flatten(), Dropout(0.3), Linear(48, 3)
            )
            schedule = CosineSchedule(0.05, 0.001, 6)
            return Trainer(
                model, Adam(model.parameters()), CrossEntropyLoss(), schedule, progress=False
            ), None

        self.check_refused(self.save(tmp_path), "does not fit this trainer", make=other)

    def test_other_optimizer_or_schedule(self, tmp_path):
        path = self.save(tmp_path)
        self.check_refused(path, "is that of Adam", make=lambda: image_trainer(AdamW))

        def unscheduled():
            t, dataset = image_trainer()
            t.scheduler = None
            return t, dataset

        self.check_refused(path, "scheduler CosineSchedule, this trainer has None", make=unscheduled)

    def test_failed_save_keeps_the_old_checkpoint(self, tmp_path, monkeypatch):
        path = self.save(tmp_path)
        before = path.read_bytes()
        t, _ = image_trainer()

        def full_disk(file, arrays, metadata):
            file.write(b"half")
            raise OSError("no space left")

        monkeypatch.setattr(safetensors, "write", full_disk)
        with pytest.raises(OSError, match="no space"):
            t.save_checkpoint(path)
        assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1

    def test_missing_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            trainer().save_checkpoint(tmp_path / "nowhere" / "c.npz")

    def test_models_that_are_not_modules(self, tmp_path):
        class Plain:
            def __init__(self, size=3):
                self.weight = Tensor(np.ones((4, size)), requires_grad=True)

            def forward(self, x):
                return x @ self.weight

            def parameters(self):
                return [self.weight]

        def make(model):
            return Trainer(model, SGD(model.parameters()), CrossEntropyLoss(), progress=False)

        first, second = make(Plain()), make(Plain())
        first.train_epoch(data())
        first.save_checkpoint(tmp_path / "c")
        second.load_checkpoint(tmp_path / "c")
        assert np.array_equal(first.model.weight.data, second.model.weight.data)
        with pytest.raises(CheckpointError, match="shapes"):
            make(Plain(5)).load_checkpoint(tmp_path / "c")
