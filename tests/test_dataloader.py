"""Datasets, batching, shuffling, and random changes to images."""

import numpy as np
import pytest

from tinytorch.dataloader import (
    Compose,
    DataLoader,
    Dataset,
    RandomCrop,
    RandomHorizontalFlip,
    TensorDataset,
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

    def test_misuse(self):
        with pytest.raises(IndexError):
            numbers()[-1]
        with pytest.raises(IndexError):
            numbers()[10]
        with pytest.raises(ValueError, match="same first dimension"):
            TensorDataset(Tensor([1, 2]), Tensor([1]))
        with pytest.raises(ValueError, match="at least one"):
            TensorDataset()
        with pytest.raises(TypeError, match="takes tensors"):
            TensorDataset(np.zeros(3))

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

    def test_misuse(self):
        for batch_size in (0, -1, 2.5, "4"):
            with pytest.raises(ValueError, match="batch_size must be a positive whole number"):
                DataLoader(numbers(), batch_size)
        with pytest.raises(ValueError, match="differ in shape"):
            list(DataLoader([np.zeros(2), np.zeros(3)], 2))


class TestTransforms:
    @pytest.mark.parametrize(("shape", "axis"), [((4, 5), 1), ((3, 4, 5), 2), ((1, 4, 5), 2), ((8, 5, 3), 1)])
    @pytest.mark.parametrize("kind", [np.asarray, Tensor])
    def test_flip(self, shape, axis, kind):
        image = np.random.rand(*shape).astype(np.float32)
        flipped = RandomHorizontalFlip(1.0)(kind(image))
        assert type(flipped) is type(kind(image))
        assert np.array_equal(getattr(flipped, "_data", flipped), np.flip(image, axis))
        same = kind(image)
        assert RandomHorizontalFlip(0.0)(same) is same

    @pytest.mark.parametrize(
        ("shape", "result"), [((8, 8), (6, 5)), ((3, 8, 8), (3, 6, 5)), ((8, 8, 3), (6, 5, 3))]
    )
    def test_crop(self, shape, result):
        np.random.seed(0)
        image = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
        crops = [RandomCrop((6, 5), padding=2)(image) for _ in range(20)]
        assert {crop.shape for crop in crops} == {result}
        assert len({crop.tobytes() for crop in crops}) > 1
        assert any((crop == 0).any() for crop in crops)

    def test_crop_without_room_to_move(self):
        image = np.random.rand(3, 8, 8)
        assert np.array_equal(RandomCrop(8, padding=0)(image), image)
        assert isinstance(RandomCrop(8)(Tensor(image)), Tensor)

    def test_compose(self):
        image = np.random.rand(3, 8, 8)
        assert Compose([RandomHorizontalFlip(), RandomCrop(8)])(image).shape == (3, 8, 8)

    def test_misuse(self):
        with pytest.raises(ValueError, match="probability"):
            RandomHorizontalFlip(1.5)
        with pytest.raises(ValueError, match="cannot cut"):
            RandomCrop(20, padding=1)(np.zeros((3, 8, 8)))
        with pytest.raises(ValueError, match="size must be positive"):
            RandomCrop(0)
        with pytest.raises(ValueError, match="expected an image"):
            RandomHorizontalFlip(1.0)(np.zeros(3))
