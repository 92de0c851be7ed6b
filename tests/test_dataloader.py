"""Datasets, batching, shuffling, and threads that load ahead."""

import threading
from collections import namedtuple

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.autograd import is_grad_enabled, no_grad
from tinytorch.dataloader import (
    Compose,
    DataLoader,
    Dataset,
    RandomCrop,
    RandomHorizontalFlip,
    SampleError,
    Subset,
    TensorDataset,
    default_collate,
    random_split,
    sample_rng,
)
from tinytorch.tensor import Tensor


def numbers(n=10):
    return TensorDataset(Tensor(np.arange(n, dtype=np.float32)[:, None]), Tensor(np.arange(n)))


def order(loader):
    return np.concatenate([labels.data for _, labels in loader]).tolist()


class TestTensorDataset:
    def test_samples(self):
        dataset = numbers()
        x, y = dataset[3]
        assert len(dataset) == 10 and x.shape == (1,) and y.item() == 3 and y.dtype == np.int64
        assert len(dataset.tensors) == 2

    def test_dataset_is_abstract(self):
        with pytest.raises(TypeError):
            Dataset()


class TestDataLoader:
    def test_batches(self):
        loader = DataLoader(numbers(), batch_size=4)
        batches = list(loader)
        assert [x.shape for x, _ in batches] == [(4, 1), (4, 1), (2, 1)]
        assert len(loader) == 3 and order(loader) == list(range(10))
        assert batches[0][1].dtype == np.int64
        assert (
            len(DataLoader(numbers(), 4, drop_last=True))
            == len(list(DataLoader(numbers(), 4, drop_last=True)))
            == 2
        )

    def test_every_sample_once_in_a_new_order(self):
        np.random.seed(0)
        loader = DataLoader(numbers(50), batch_size=7, shuffle=True)
        first, second = order(loader), order(loader)
        assert sorted(first) == sorted(second) == list(range(50))
        assert first != second != list(range(50))

    def test_numpy_seed_repeats(self):
        orders = []
        for _ in range(2):
            np.random.seed(3)
            orders.append(order(DataLoader(numbers(), 3, shuffle=True)))
        assert orders[0] == orders[1]

    def test_own_seed_repeats_whatever_else_is_random(self):
        a, b = (DataLoader(numbers(), 3, shuffle=True, seed=5) for _ in range(2))
        first, _ = order(a), np.random.random()
        assert order(b) == first
        assert order(a) == order(b) != first
        a.epoch = 0
        assert order(a) == first

    def test_general_datasets(self):
        class Squares(Dataset):
            def __len__(self):
                return 5

            def __getitem__(self, idx):
                return np.full((2, 2), idx), idx**2, float(idx)

        x, whole, real = next(iter(DataLoader(Squares(), 3)))
        assert x.shape == (3, 2, 2) and whole.data.tolist() == [0, 1, 4] and whole.dtype == np.int64
        assert real.dtype == np.float32

    def test_batches_are_copies(self):
        dataset = numbers()
        next(iter(DataLoader(dataset, 4)))[0].data[:] = 99
        assert dataset.tensors[0].data.max() == 9

    def test_empty_dataset(self):
        assert list(DataLoader(TensorDataset(Tensor(np.zeros((0, 3)))), 4)) == []


class Squares(Dataset):
    def __init__(self, n=10):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, idx):
        return np.full(3, idx, np.float32), idx**2


class Noisy(Squares):
    """Everything random about a sample: a transform, and what it draws itself."""

    change = Compose([RandomHorizontalFlip(), RandomCrop(3, padding=1)])

    def __getitem__(self, idx):
        image = np.arange(9, dtype=np.float32).reshape(3, 3) + idx
        return self.change(image), float(sample_rng().normal())


def contents(loader):
    return [[np.array(field.data) for field in batch] for batch in loader]


def same(a, b):
    return len(a) == len(b) and all(
        np.array_equal(x, y)
        for left, right in zip(a, b, strict=True)
        for x, y in zip(left, right, strict=True)
    )


def loader_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("tinytorch-loader")]


class TestCollate:
    def test_fields(self):
        Point = namedtuple("Point", "x y")
        samples = [{"image": np.zeros(2), "name": f"n{i}", "at": Point(i, float(i))} for i in range(3)]
        batch = default_collate(samples)
        assert batch["image"].shape == (3, 2) and batch["name"] == ["n0", "n1", "n2"]
        assert batch["at"].x.data.tolist() == [0, 1, 2] and batch["at"].y.dtype == np.float32

    def test_bare_samples_become_a_bare_tensor(self):
        (batch,) = DataLoader([np.zeros(2), np.ones(2)], 2)
        assert isinstance(batch, Tensor) and batch.data.tolist() == [[0, 0], [1, 1]]

    def test_tensors_keep_their_dtype(self):
        assert default_collate([Tensor(1.0, dtype=np.float64)] * 2).dtype == np.float64
        assert default_collate([np.uint8(1)] * 2).dtype == np.uint8
        assert default_collate([np.float64(1)] * 2).dtype == np.float32

    @pytest.mark.parametrize("num_workers", [0, 2])
    def test_own_function(self, num_workers):
        loader = DataLoader(Squares(5), 2, collate_fn=len, num_workers=num_workers)
        assert list(loader) == [2, 2, 1]


class TestWorkers:
    @pytest.mark.parametrize("seed", [None, 7])
    @pytest.mark.parametrize(
        "dataset", [Noisy(23), TensorDataset(Tensor(np.arange(23))), Subset(Noisy(9), [4, 4, 1])]
    )
    def test_same_batches_for_any_number(self, dataset, seed):
        runs = []
        for num_workers, prefetch_factor in [(0, None), (1, None), (3, 1), (4, 5)]:
            np.random.seed(3)
            loader = DataLoader(
                dataset, 4, shuffle=True, seed=seed, num_workers=num_workers, prefetch_factor=prefetch_factor
            )
            runs.append(contents(loader) + contents(loader))
        assert all(same(runs[0], run) for run in runs[1:])

    def test_epochs_and_samples_differ(self):
        loader = DataLoader(Noisy(6), 6, seed=1, num_workers=2)
        (first,), (second,) = contents(loader), contents(loader)
        assert len(np.unique(np.concatenate([first[1], second[1]]))) == 12
        loader.epoch = 0
        assert same([first], contents(loader))

    def test_global_stream_outside_a_loader(self):
        np.random.seed(5)
        expected = np.random.random(3)
        np.random.seed(5)
        assert sample_rng().random(3).tolist() == expected.tolist()

    def test_loads_while_the_caller_computes(self):
        """The second batch is complete before the first is let go; without a worker that would never be."""
        loaded = [threading.Event() for _ in range(4)]

        class Signalling(Squares):
            def __getitem__(self, idx):
                loaded[idx].set()
                return idx

        for i, _ in enumerate(DataLoader(Signalling(4), 1, num_workers=1)):
            assert i + 1 == 4 or loaded[i + 1].wait(timeout=60)

    def test_workers_load_at_the_same_time(self):
        meeting = threading.Barrier(3)

        class Together(Squares):
            def __getitem__(self, idx):
                meeting.wait(timeout=60)
                return idx

        assert len(list(DataLoader(Together(6), 1, num_workers=3))) == 6

    @pytest.mark.parametrize(
        ("num_workers", "prefetch_factor", "ahead"), [(1, 1, 1), (2, None, 4), (2, 3, 6)]
    )
    def test_no_further_ahead_than_asked(self, num_workers, prefetch_factor, ahead):
        started = []

        class Counting(Squares):
            def __getitem__(self, idx):
                started.append(idx)
                return idx

        loader = DataLoader(Counting(50), 1, num_workers=num_workers, prefetch_factor=prefetch_factor)
        for i, _ in enumerate(loader):
            assert len(started) <= i + 1 + ahead

    def test_modes_of_the_caller_hold(self):
        def mine(a, b):
            return np.zeros((a.shape[0], b.shape[1]), np.float32)

        class Asking(Squares):
            def __getitem__(self, idx):
                return is_grad_enabled(), kernels.matmul([[1, 1]], [[1], [1]]).item()

        with no_grad(), kernels.use(matmul=mine):
            for grad, product in DataLoader(Asking(4), 2, num_workers=2):
                assert grad.data.tolist() == [False, False] and product.data.tolist() == [0, 0]

    @pytest.mark.parametrize("leave", ["break", "raise", "keep", "finish"])
    def test_no_thread_outlives_the_loop(self, leave):
        iterator = iter(DataLoader(Squares(100), 2, num_workers=3))
        assert not loader_threads()
        next(iterator)
        assert loader_threads()
        if leave == "raise":
            try:
                for _ in iterator:
                    raise KeyboardInterrupt
            except KeyboardInterrupt:
                pass
        elif leave == "finish":
            list(iterator)
        elif leave == "break":
            for _ in iterator:
                break
        del iterator
        assert not loader_threads()

    @pytest.mark.parametrize("num_workers", [0, 1, 3])
    def test_errors_name_the_sample(self, num_workers):
        class Broken(Squares):
            def __getitem__(self, idx):
                if idx == 5:
                    raise KeyError("no such file")
                return idx

        seen = []
        with pytest.raises(SampleError, match="sample 5 of Broken failed with KeyError") as caught:
            for batch in DataLoader(Broken(), 2, num_workers=num_workers):
                seen.extend(batch.data.tolist())
        assert seen == [0, 1, 2, 3] and caught.value.index == 5
        assert isinstance(caught.value.__cause__, KeyError)
        assert not loader_threads()


class TestSubset:
    def test_samples(self):
        subset = Subset(Squares(), [3, 1, 3])
        assert len(subset) == 3 and [subset[i][1] for i in range(3)] == [9, 1, 9]

    def test_gathers_through_subsets_of_tensors(self):
        subset = Subset(Subset(numbers(), [9, 7, 5, 3]), [3, 0, 1])
        assert order(DataLoader(subset, 2)) == [3, 9, 7]
        assert len(list(DataLoader(Subset(numbers(), []), 2))) == 0

    @pytest.mark.parametrize(
        ("n", "lengths", "sizes"),
        [
            (10, [7, 3], [7, 3]),
            (10, [0.7, 0.3], [7, 3]),
            (10, [1 / 3] * 3, [4, 3, 3]),
            (5, [0.5, 0.5], [3, 2]),
            (10, [1.0], [10]),
        ],
    )
    def test_random_split(self, n, lengths, sizes):
        parts = random_split(Squares(n), lengths, seed=1)
        assert [len(part) for part in parts] == sizes
        indices = np.concatenate([part.indices for part in parts])
        assert sorted(indices) == list(range(n))
        again = np.concatenate([part.indices for part in random_split(Squares(n), lengths, seed=1)])
        assert np.array_equal(indices, again)
        torch = pytest.importorskip("torch")
        assert [len(part) for part in torch.utils.data.random_split(range(n), lengths)] == sizes

    def test_splits_differ(self):
        a, b = (random_split(Squares(50), [25, 25], seed=seed)[0].indices.tolist() for seed in (0, 1))
        assert a != b and a != list(range(25))
        np.random.seed(0)
        first = random_split(Squares(50), [25, 25])[0].indices.tolist()
        np.random.seed(0)
        assert first == random_split(Squares(50), [25, 25])[0].indices.tolist()


def batches(samples, **options):
    return list(DataLoader(samples, 2, **options))


# What is wrong, and words that the error must have.
MISUSE = {
    "batch of none": (lambda: DataLoader(numbers(), 0), "batch_size must be a positive whole number, got 0"),
    "negative batch": (lambda: DataLoader(numbers(), -1), "batch_size must be a positive whole number"),
    "half a batch": (lambda: DataLoader(numbers(), 2.5), "batch_size must be a positive whole number"),
    "batch in words": (lambda: DataLoader(numbers(), "4"), "batch_size must be a positive whole number"),
    "workers": (lambda: DataLoader(numbers(), 2, num_workers=-1), "num_workers must be a whole number, 0 or"),
    "seed": (lambda: DataLoader(numbers(), 2, seed=-1), "seed must be a whole number, 0 or more"),
    "nothing ahead": (
        lambda: DataLoader(numbers(), 2, num_workers=1, prefetch_factor=0),
        "prefetch_factor must be a positive",
    ),
    "ahead without workers": (lambda: DataLoader(numbers(), 2, prefetch_factor=2), "set num_workers, too"),
    "no dataset": (lambda: DataLoader(iter([1, 2]), 2), "needs __len__ and __getitem__; list_iterator"),
    "collate by name": (lambda: DataLoader(numbers(), 2, collate_fn="stack"), "collate_fn must be callable"),
    "other shapes": (lambda: batches([np.zeros(2), np.zeros(3)]), r"differ in shape: \(2,\), \(3,\); crop"),
    "other shapes in a worker": (
        lambda: batches([np.zeros(2), np.zeros(3)], num_workers=2),
        "differ in shape",
    ),
    "other fields": (lambda: batches([(1, 2), (1, 2, 3)]), r"differ in length: \[2, 3\]"),
    "other keys": (lambda: batches([{"a": 1}, {"b": 1}]), "differ in their keys"),
    "nothing": (lambda: batches([(1, None), (2, None)]), "samples hold NoneType, which does not fit"),
    "tensors of other lengths": (lambda: TensorDataset(Tensor([1, 2]), Tensor([1])), "same first dimension"),
    "no tensors": (lambda: TensorDataset(), "at least one"),
    "arrays": (lambda: TensorDataset(np.zeros(3)), r"takes tensors, not ndarray; wrap it: Tensor\(x\)"),
    "from the end": (lambda: numbers()[-1], "index -1 is outside 0 … 9"),
    "beyond the end": (lambda: numbers()[10], "index 10 is outside 0 … 9"),
    "subset beyond the end": (lambda: Subset(numbers(), [3, 10]), "Subset: index 10 is outside 0 … 9"),
    "subset by a mask of floats": (lambda: Subset(numbers(), [0.5]), "indices must be whole numbers"),
    "a split that leaves some": (lambda: random_split(numbers(), [3, 3]), "add up to 6, but must give 10"),
    "shares that leave some": (
        lambda: random_split(numbers(), [0.3, 0.3]),
        "add up to 0.6, but must give 10",
    ),
    "a negative part": (lambda: random_split(numbers(), [11, -1]), "must not be negative"),
}


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_explained(what):
    mistake, words = MISUSE[what]
    with pytest.raises((ValueError, TypeError, IndexError), match=words):
        mistake()
    assert not loader_threads()
