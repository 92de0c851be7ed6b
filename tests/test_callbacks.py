"""Callbacks: when they are called, early stopping, checkpoints, and what interrupts leave behind."""

import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tinytorch.callbacks import Callback, EarlyStopping, SaveCheckpoint
from tinytorch.checkpoint import read_checkpoint
from tinytorch.dataloader import DataLoader, TensorDataset
from tinytorch.layers import Linear
from tinytorch.losses import MSELoss
from tinytorch.optimizers import SGD
from tinytorch.schedules import StepSchedule
from tinytorch.tensor import Tensor
from tinytorch.training import Trainer

DATA = TensorDataset(Tensor(np.eye(4)), Tensor(np.ones((4, 1))))


def trainer(lr=0.1, **options):
    model = Linear(4, 1)
    return Trainer(model, SGD(model.parameters(), lr=lr), MSELoss(), progress=False, **options)


def loader():
    return DataLoader(DATA, 2)


class Recorder(Callback):
    def __init__(self):
        self.seen = []

    def on_fit_start(self, trainer):
        self.seen.append("start")

    def on_step_end(self, trainer, loss):
        self.seen.append(trainer.step)

    def on_epoch_end(self, trainer):
        self.seen.append(f"epoch {trainer.epoch}")

    def on_fit_end(self, trainer):
        self.seen.append("end")


def test_order():
    recorder = Recorder()
    trainer(callbacks=[recorder]).fit(loader(), 2)
    assert recorder.seen == ["start", 1, 2, "epoch 1", 3, 4, "epoch 2", "end"]


def test_a_schedule_can_follow_the_steps():
    t = trainer(scheduler=StepSchedule(0.4, step_size=1, gamma=0.5), schedule_steps=True)
    t.fit(loader(), 2)
    assert t.optimizer.lr == 0.05


class TestEarlyStopping:
    def losses(self, monkeypatch, values, **options):
        stopping = EarlyStopping(monitor="train_loss", **options)
        t = trainer(callbacks=[stopping])
        pending = iter(values)

        def epoch(loader, accumulation_steps=1):
            t.epoch += 1
            t.model.bias.data = np.array([t.epoch], np.float32)
            t.history["train_loss"].append(next(pending))

        monkeypatch.setattr(t, "train_epoch", epoch)
        t.fit(None, len(values))
        return t, stopping

    def test_waits_then_stops_and_restores_the_best(self, monkeypatch):
        t, stopping = self.losses(monkeypatch, [3, 1, 2, 2, 0, 0], patience=2)
        assert t.epoch == 4 and "epoch 2" in t.stop
        assert stopping.best == 1 and t.model.bias.data.tolist() == [2]

    def test_improvements_go_on(self, monkeypatch):
        t, _ = self.losses(monkeypatch, [3, 2, 2.5, 1, 1.5, 0.5], patience=2)
        assert t.epoch == 6 and t.stop is None

    def test_small_improvements_do_not_count(self, monkeypatch):
        t, _ = self.losses(monkeypatch, [3, 2.99, 2.98, 0, 0, 0], patience=2, min_delta=0.1)
        assert t.epoch == 3

    def test_the_last_weights_can_be_kept(self, monkeypatch):
        t, _ = self.losses(monkeypatch, [1, 2, 2, 2, 0, 0], patience=3, restore_best=False)
        assert t.model.bias.data.tolist() == [4]

    def test_misuse(self):
        with pytest.raises(ValueError, match="patience must be at least 1"):
            EarlyStopping(patience=0)
        with pytest.raises(ValueError, match="no 'accuracy'; the history has train_loss, eval_loss"):
            trainer(callbacks=[EarlyStopping(monitor="accuracy")]).fit(loader(), 1)
        with pytest.raises(ValueError, match="eval_loss is never measured; pass an eval_loader"):
            trainer(callbacks=[EarlyStopping()]).fit(loader(), 1)


class TestSaveCheckpoint:
    def test_every(self, tmp_path):
        trainer(callbacks=[SaveCheckpoint(tmp_path / "c", every=2)]).fit(loader(), 5)
        assert read_checkpoint(tmp_path / "c")[0]["epoch"] == 4

    def test_best(self, tmp_path):
        t = trainer(lr=30.0, callbacks=[SaveCheckpoint(tmp_path / "c", best="train_loss")])
        t.fit(loader(), 3)  # diverges
        assert read_checkpoint(tmp_path / "c")[0]["epoch"] == 1

    def test_misuse(self, tmp_path):
        with pytest.raises(ValueError, match="every must be at least 1"):
            SaveCheckpoint(tmp_path, every=0)
        with pytest.raises(ValueError, match="no 'accuracy'"):
            trainer(callbacks=[SaveCheckpoint(tmp_path / "c", best="accuracy")]).fit(loader(), 1)


def test_an_interrupt_leaves_a_usable_model_and_the_last_checkpoint(tmp_path):
    class Interrupt(Callback):
        def on_step_end(self, trainer, loss):
            if trainer.step == 5:
                raise KeyboardInterrupt

    recorder = Recorder()
    t = trainer(callbacks=[SaveCheckpoint(tmp_path / "c"), Interrupt(), recorder])
    with pytest.raises(KeyboardInterrupt):
        t.fit(loader(), 9)
    assert recorder.seen[-1] == "end" and t.epoch == 2
    assert np.isfinite(t.model(Tensor(np.eye(4))).data).all()
    again = trainer()
    again.load_checkpoint(tmp_path / "c")
    assert again.epoch == 2


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_while_saving_the_previous_checkpoint_is_whole(tmp_path):
    script = """
        import os, signal, sys
        import numpy as np
        from tinytorch.checkpoint import write_checkpoint
        from tinytorch.interop import safetensors

        path = sys.argv[1]
        write_checkpoint(path, {"number": 1}, {"a": np.ones(1000)})

        class Dying:
            def __init__(self, file):
                self.file = file

            def write(self, content):
                self.file.write(content[: len(content) // 2])
                self.file.flush()
                os.kill(os.getpid(), signal.SIGKILL)

        whole = safetensors.write
        safetensors.write = lambda file, *rest: whole(Dying(file), *rest)
        write_checkpoint(path, {"number": 2}, {"a": np.zeros(1000)})
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "c")], check=False)
    assert done.returncode == -signal.SIGKILL
    metadata, arrays = read_checkpoint(tmp_path / "c")
    assert metadata["number"] == 1 and arrays["a"].all()


@pytest.mark.parametrize("name", ["TINYTORCH_QUIET", "NBGRADER_EXECUTION"])
def test_no_bar_where_nobody_watches(monkeypatch, capsys, name):
    monkeypatch.setenv(name, "1")
    model = Linear(4, 1)
    Trainer(model, SGD(model.parameters()), MSELoss()).fit(loader(), 1)
    assert capsys.readouterr().err == ""
