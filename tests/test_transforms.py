"""Changes to images: the same for every layout, and only as random as they should be."""

import numpy as np
import pytest

from tinytorch.tensor import Tensor
from tinytorch.transforms import (
    CenterCrop,
    Compose,
    Normalize,
    RandomCrop,
    RandomHorizontalFlip,
    RandomRotation,
    RandomVerticalFlip,
    ToTensor,
    sample_seed,
)


def as_array(image):
    return image.data if isinstance(image, Tensor) else image


LAYOUTS = [((4, 5), (0, 1)), ((3, 4, 5), (1, 2)), ((1, 4, 5), (1, 2)), ((8, 5, 3), (0, 1))]


@pytest.mark.parametrize(("shape", "axes"), LAYOUTS)
@pytest.mark.parametrize("kind", [np.asarray, Tensor])
@pytest.mark.parametrize(("flip", "which"), [(RandomVerticalFlip, 0), (RandomHorizontalFlip, 1)])
def test_flip(shape, axes, kind, flip, which):
    image = np.random.rand(*shape).astype(np.float32)
    flipped = flip(1.0)(kind(image))
    assert type(flipped) is type(kind(image))
    assert np.array_equal(as_array(flipped), np.flip(image, axes[which]))
    same = kind(image)
    assert flip(0.0)(same) is same


def test_flips_happen_as_often_as_said():
    np.random.seed(0)
    image = np.array([[0, 1]])
    flips = sum(RandomHorizontalFlip(0.3)(image)[0, 0] for _ in range(1000))
    assert 250 < flips < 350


@pytest.mark.parametrize(
    ("shape", "result"), [((8, 8), (6, 5)), ((3, 8, 8), (3, 6, 5)), ((8, 8, 3), (6, 5, 3))]
)
def test_crop(shape, result):
    np.random.seed(0)
    image = np.arange(1, np.prod(shape) + 1, dtype=np.float32).reshape(shape)
    crops = [RandomCrop((6, 5), padding=2)(image) for _ in range(20)]
    assert {crop.shape for crop in crops} == {result}
    assert len({crop.tobytes() for crop in crops}) > 1
    assert any((crop == 0).any() for crop in crops)
    middle = CenterCrop((6, 5))(image)
    assert middle.shape == result and middle.min() > 0


def test_crop_reaches_every_place():
    np.random.seed(0)
    image = np.arange(9).reshape(3, 3)
    assert {RandomCrop(1, padding=0)(image).item() for _ in range(200)} == set(range(9))
    assert CenterCrop(1)(image).item() == 4


def test_crop_without_room_to_move():
    image = np.random.rand(3, 8, 8)
    assert np.array_equal(RandomCrop(8, padding=0)(image), image)
    assert isinstance(RandomCrop(8)(Tensor(image)), Tensor)


def test_to_tensor():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    planes = ToTensor()(image)
    assert planes.shape == (3, 2, 4) and planes.dtype == np.float32
    np.testing.assert_allclose(planes.data[2, 1, 3], 23 / 255)
    assert ToTensor()(image[:, :, 0]).shape == (1, 2, 4)
    assert ToTensor()(image.astype(np.float64)).data.max() == 23


def test_normalize():
    image = np.random.rand(3, 6, 7).astype(np.float32)
    mean, std = [0.1, 0.2, 0.3], [1.0, 2.0, 4.0]
    expected = (image - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    normalized = Normalize(mean, std)(Tensor(image))
    assert normalized.dtype == np.float32
    np.testing.assert_allclose(normalized.data, expected, rtol=1e-5, atol=1e-7)
    last = Normalize(mean, std)(np.moveaxis(image, 0, 2))
    np.testing.assert_allclose(last, np.moveaxis(expected, 0, 2), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(Normalize(0.5, 0.5)(image[0]), image[0] * 2 - 1, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("shape", "axes"), [((5, 5), (0, 1)), ((3, 5, 5), (1, 2)), ((5, 5, 3), (0, 1))])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_rotation_by_right_angles(shape, axes, dtype):
    image = np.random.default_rng(0).integers(0, 99, shape).astype(dtype)
    turned = RandomRotation((90, 90))(image)
    assert turned.dtype == dtype
    np.testing.assert_allclose(turned, np.rot90(image, axes=axes), atol=1e-3)
    np.testing.assert_allclose(RandomRotation(0)(image), image, atol=1e-3)


def test_rotation_brings_in_zeros():
    corner = RandomRotation((45, 45))(np.ones((9, 9), np.float32))
    assert corner[0, 0] == 0 and corner[4, 4] == pytest.approx(1)


def test_compose():
    image = np.random.rand(8, 8, 3)
    change = Compose([RandomHorizontalFlip(), RandomCrop(6), ToTensor(), Normalize(0.5, 0.5)])
    assert change(image).shape == (3, 6, 6) and "RandomCrop" in repr(change)


def test_a_seed_decides_all():
    change = Compose([RandomHorizontalFlip(), RandomVerticalFlip(), RandomCrop(8), RandomRotation(30)])
    image = np.random.rand(8, 8).astype(np.float32)
    results = []
    for key in [(1, 2), (1, 2), (1, 3), (2, 2)]:
        np.random.random()
        with sample_seed(0, *key):
            results.append(change(image))
    assert np.array_equal(results[0], results[1])
    assert not any(np.array_equal(results[0], other) for other in results[2:])
    for _ in range(2):
        np.random.seed(4)
        results.append(change(image))
    assert np.array_equal(results[-1], results[-2])


IMAGE = np.zeros((3, 8, 8))

MISUSE = {
    "more than certain": (lambda: RandomHorizontalFlip(1.5), "RandomHorizontalFlip: p is a probability"),
    "less than never": (lambda: RandomVerticalFlip(-0.5), "RandomVerticalFlip: p is a probability"),
    "a window too large": (
        lambda: RandomCrop(20, padding=1)(IMAGE),
        r"cannot cut \(20, 20\) out",
    ),
    "a middle too large": (lambda: CenterCrop(9)(IMAGE), r"CenterCrop: cannot cut \(9, 9\)"),
    "no window": (lambda: RandomCrop(0), "RandomCrop: size must be positive"),
    "half a window": (lambda: CenterCrop(2.5), "CenterCrop: size must be positive"),
    "a window of three sizes": (lambda: RandomCrop((1, 2, 3)), "size must be positive"),
    "negative padding": (lambda: RandomCrop(8, padding=-1), "padding must be whole and not negative"),
    "a vector": (lambda: RandomHorizontalFlip(1.0)(np.zeros(3)), r"expected an image.*got shape \(3,\)"),
    "a batch": (lambda: RandomCrop(8)(np.zeros((2, 3, 8, 8))), "one by one, before they become a batch"),
    "channels first": (lambda: ToTensor()(IMAGE), r"looks like \(C, H, W\)"),
    "a batch as a tensor": (lambda: ToTensor()(np.zeros((2, 3, 8, 8))), "ToTensor: expected an image"),
    "no spread": (lambda: Normalize(0.5, 0.0), "std divides, and must be positive"),
    "bytes": (lambda: Normalize(0.5, 0.5)(np.zeros((8, 8), np.uint8)), "holds uint8; make it float32 first"),
    "other channels": (lambda: Normalize([0.5] * 4, 0.5)(IMAGE), r"mean has 4 values.*3 channel\(s\)"),
    "turned inside out": (lambda: RandomRotation(-5), "degrees must be at least 0"),
    "not a transform": (lambda: Compose([RandomCrop(8), None]), "list of callables, and NoneType is none"),
}


@pytest.mark.parametrize("what", MISUSE)
def test_misuse_is_explained(what):
    mistake, words = MISUSE[what]
    with pytest.raises((ValueError, TypeError), match=words):
        mistake()
