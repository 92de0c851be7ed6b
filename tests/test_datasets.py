"""The shipped data: right shapes, honest splits, and an error when a file was changed."""

import numpy as np
import pytest

from tinytorch.datasets import (
    TEXTS,
    _files,
    augment_digits,
    digits_folds,
    load_digits,
    load_text,
    next_token_windows,
)


@pytest.mark.parametrize("size", [8, 32])
def test_digits_have_the_promised_shapes_and_range(size):
    train, train_labels = load_digits(size=size)
    test, test_labels = load_digits(size=size, split="test")
    assert train.shape == (1347, 1, size, size) and test.shape == (450, 1, size, size)
    assert train.dtype == np.float32 and train_labels.dtype == np.int64
    assert train.min() == 0 and train.max() == 1
    assert set(train_labels) == set(test_labels) == set(range(10))


def test_digits_split_is_a_partition_and_stratified():
    everything, labels = load_digits(split="all")
    train, _ = load_digits(split="train", seed=3)
    test, test_labels = load_digits(split="test", seed=3)
    rows = np.concatenate([train, test]).reshape(1797, 64)
    assert np.array_equal(np.sort(rows, axis=0), np.sort(everything.reshape(1797, 64), axis=0))
    share = np.bincount(test_labels) - np.bincount(labels) / 4
    assert np.abs(share).max() <= 1


def test_digits_seed_decides_the_split():
    same, other = load_digits(split="test", seed=1), load_digits(split="test", seed=2)
    assert np.array_equal(same[0], load_digits(split="test", seed=1)[0])
    assert not np.array_equal(same[0], other[0])


def test_upsampling_splits_first():
    small, _ = load_digits(size=8, split="test", seed=5)
    large, _ = load_digits(size=32, split="test", seed=5)
    # A 4x4 block of a bilinear upsampling lies between the neighbours of its source pixel;
    # at a corner of the image there is only that pixel.
    assert np.array_equal(large[:, :, 0, 0], small[:, :, 0, 0])
    assert np.array_equal(large[:, :, -1, -1], small[:, :, -1, -1])


def test_upsampling_is_bilinear():
    from tinytorch.datasets.digits import _resize

    ramp = np.broadcast_to(np.arange(8, dtype=np.float32), (1, 1, 8, 8))
    column = _resize(ramp, 32)[0, 0, 7]
    expected = np.clip((np.arange(32) + 0.5) / 4 - 0.5, 0, 7)
    np.testing.assert_allclose(column, expected, rtol=1e-6)


def test_augmentation_adds_copies_of_the_training_part_only():
    plain, plain_labels = load_digits(seed=4)
    more, more_labels = load_digits(seed=4, augment=2)
    assert len(more) == 3 * len(plain)
    assert np.array_equal(more[: len(plain)], plain)
    assert np.array_equal(more_labels[len(plain) : 2 * len(plain)], plain_labels)
    assert not np.array_equal(more[len(plain) : 2 * len(plain)], plain)
    assert np.array_equal(more, load_digits(seed=4, augment=2)[0])
    with pytest.raises(ValueError, match="held-out"):
        load_digits(split="test", augment=1)


def test_augment_without_movement_changes_nothing():
    images, _ = load_digits(size=32)
    still = augment_digits(images[:20], seed=0, max_shift=0, max_angle=0)
    np.testing.assert_allclose(still, images[:20], atol=1e-6)


def test_augment_keeps_the_range_and_brings_in_paper():
    ones = np.ones((50, 1, 32, 32), dtype=np.float32)
    moved = augment_digits(ones, seed=0)
    assert moved.min() >= 0 and moved.max() <= 1
    np.testing.assert_allclose(moved[:, :, 12:20, 12:20], 1, rtol=1e-6)
    assert moved[:, :, 0].mean() < 0.9


def test_folds_hold_out_every_image_once():
    folds = list(digits_folds(k=5))
    assert sum(len(test_labels) for *_, test_labels in folds) == 1797
    for train, train_labels, test, test_labels in folds:
        assert len(train) == len(train_labels) == 1797 - len(test)
        assert len(test) in (359, 360)
        assert np.ptp(np.bincount(test_labels)) <= 3
    held_out = np.concatenate([test for _, _, test, _ in folds]).reshape(1797, 64)
    everything = load_digits(split="all")[0].reshape(1797, 64)
    assert np.array_equal(held_out[np.lexsort(held_out.T)], everything[np.lexsort(everything.T)])


@pytest.mark.parametrize("arguments", [{"size": 16}, {"split": "validation"}, {"augment": -1}, {"size": -8}])
def test_digits_refuses_what_it_does_not_have(arguments):
    with pytest.raises(ValueError, match="load_digits"):
        load_digits(**arguments)


def test_one_fold_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        next(digits_folds(k=1))


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_texts_are_long_and_plain(name):
    text = load_text(name)
    assert len(text) >= 50_000 and text.isascii() and "\r" not in text
    assert "public domain" in TEXTS[name].licence


def test_alice_is_alice():
    assert "Alice was beginning to get very tired" in load_text()


def test_unknown_text_lists_the_known_ones():
    with pytest.raises(ValueError, match="alice, as_you_like_it"):
        load_text("war_and_peace")


def test_a_changed_or_missing_file_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "DATA_FOLDER", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"alice\.txt is missing"):
        load_text("alice")
    (tmp_path / "alice.txt").write_text("Alice was beginning to get very rich")
    with pytest.raises(ValueError, match="not the file that was shipped"):
        load_text("alice")
    (tmp_path / "digits.npz").write_bytes(b"")
    with pytest.raises(ValueError, match="not the file that was shipped"):
        load_digits()


def test_windows_predict_the_next_token():
    inputs, targets = next_token_windows(range(10), 3)
    assert np.array_equal(inputs, [[0, 1, 2], [3, 4, 5], [6, 7, 8]])
    assert np.array_equal(targets, inputs + 1)
    assert next_token_windows(range(9), 3)[0].shape == (2, 3)


@pytest.mark.parametrize(("ids", "length"), [(range(3), 3), ([], 1), (range(5), 0), ([[1, 2], [3, 4]], 1)])
def test_windows_need_enough_text(ids, length):
    with pytest.raises(ValueError, match="next_token_windows"):
        next_token_windows(ids, length)
