"""MNIST and CIFAR-10 from tiny files in the official formats; downloads from a folder in place of the net."""

import gzip
import hashlib
import io
import tarfile

import numpy as np
import pytest

from tinytorch.dataloader import DataLoader
from tinytorch.datasets import (
    CIFAR10,
    MNIST,
    _download,
    cifar10,
    download_cifar10,
    download_mnist,
    load_cifar10,
    load_mnist,
    mnist,
)
from tinytorch.transforms import Compose, Normalize, RandomCrop, RandomHorizontalFlip, ToTensor

rng = np.random.default_rng(0)
DIGITS = rng.integers(0, 256, (5, 28, 28), dtype=np.uint8)
LABELS = np.array([7, 2, 1, 0, 9], np.uint8)
PHOTOS = rng.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
KINDS = np.arange(12, dtype=np.uint8) % 10
TRAIN = [f"data_batch_{i}.bin" for i in range(1, 6)]


def idx(array, magic=b"\0\0\x08"):
    header = magic + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return header + array.tobytes()


def write_mnist(folder, images=None, labels=None, *, packed=True, prefix="train"):
    folder.mkdir(exist_ok=True)
    images, labels = (idx(DIGITS) if images is None else images), (idx(LABELS) if labels is None else labels)
    for kind, content in (("images-idx3", images), ("labels-idx1", labels)):
        name = f"{prefix}-{kind}-ubyte" + (".gz" if packed else "")
        (folder / name).write_bytes(gzip.compress(content) if packed else content)
    return folder


def records(photos=PHOTOS, kinds=KINDS):
    return np.concatenate([kinds[:, None], photos.reshape(len(photos), -1)], axis=1).tobytes()


def batches():
    """All six, each with two images."""
    parts = [records(PHOTOS[2 * i : 2 * i + 2], KINDS[2 * i : 2 * i + 2]) for i in range(6)]
    return dict(zip([*TRAIN, "test_batch.bin"], parts, strict=True))


def write_archive(folder, files, links=()):
    path = folder / "cifar-10-binary.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name if "/" in name else f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name in links:
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(member)
    return folder


class TestMNIST:
    @pytest.mark.parametrize("packed", [True, False])
    def test_values(self, tmp_path, packed):
        write_mnist(tmp_path, packed=packed)
        images, labels = load_mnist(tmp_path, verify=False)
        assert images.shape == (5, 1, 28, 28) and images.dtype == np.float32
        assert np.array_equal(np.round(images[:, 0] * 255), DIGITS)
        assert labels.dtype == np.int64 and np.array_equal(labels, LABELS)

    def test_parts_and_other_names(self, tmp_path):
        write_mnist(tmp_path, prefix="t10k", packed=False)
        assert len(load_mnist(tmp_path, "test", verify=False)[0]) == 5
        for path in list(tmp_path.iterdir()):
            path.rename(path.with_name(path.name.replace("-idx", ".idx")))
        assert len(MNIST(tmp_path, train=False, verify=False)) == 5

    def test_dataset(self, tmp_path):
        dataset = MNIST(write_mnist(tmp_path), verify=False)
        image, label = dataset[1]
        assert image.shape == (1, 28, 28) and label == 2 and dataset.classes[label] == "2"
        change = Compose([RandomCrop(28, padding=2), RandomHorizontalFlip(), ToTensor(), Normalize(0.5, 0.5)])
        changed = MNIST(tmp_path, transform=change, verify=False)
        runs = [
            [x.data.copy() for x, _ in DataLoader(changed, 2, shuffle=True, seed=3, num_workers=n)]
            for n in (0, 3)
        ]
        assert runs[0][0].shape == (2, 1, 28, 28) and runs[0][0].min() == -1
        assert all(np.array_equal(a, b) for a, b in zip(*runs, strict=True))

    def test_contents_must_be_the_published_ones(self, tmp_path, monkeypatch):
        write_mnist(tmp_path)
        for name, array in (("train-images-idx3-ubyte", DIGITS), ("train-labels-idx1-ubyte", LABELS)):
            monkeypatch.setitem(mnist.CONTENT_MD5, name, hashlib.md5(idx(array)).hexdigest())
        assert len(load_mnist(tmp_path)[0]) == 5
        write_mnist(tmp_path, packed=False)
        for path in tmp_path.glob("*.gz"):
            path.unlink()
        assert len(load_mnist(tmp_path)[0]) == 5


class TestCIFAR10:
    @pytest.mark.parametrize("packed", [True, False])
    def test_values(self, tmp_path, packed):
        if packed:
            write_archive(tmp_path, {**batches(), "batches.meta.txt": b"airplane\n"})
        else:
            (tmp_path / "cifar-10-batches-bin").mkdir()
            for name, content in batches().items():
                (tmp_path / "cifar-10-batches-bin" / name).write_bytes(content)
        images, labels = load_cifar10(tmp_path, verify=False)
        assert images.shape == (10, 3, 32, 32) and images.dtype == np.float32
        assert np.array_equal(np.round(images * 255), PHOTOS[:10])
        assert labels.dtype == np.int64 and np.array_equal(labels, KINDS[:10])
        images, labels = load_cifar10(tmp_path, "test", verify=False)
        assert np.array_equal(np.round(images * 255), PHOTOS[10:]) and labels.tolist() == [0, 1]

    def test_dataset(self, tmp_path):
        dataset = CIFAR10(write_archive(tmp_path, batches()), verify=False)
        image, label = dataset[3]
        assert image.shape == (3, 32, 32) and dataset.classes[label] == "cat"
        assert np.array_equal(np.round(image.data * 255), PHOTOS[3])
        assert dataset.data.shape == (10, 32, 32, 3)

    def test_contents_must_be_the_published_ones(self, tmp_path, monkeypatch):
        write_archive(tmp_path, batches())
        for name, content in batches().items():
            monkeypatch.setitem(cifar10.CONTENT_MD5, name, hashlib.md5(content).hexdigest())
        assert len(load_cifar10(tmp_path)[0]) == 10

    def test_nothing_is_extracted(self, tmp_path):
        load_cifar10(write_archive(tmp_path, batches()), verify=False)
        assert [path.name for path in tmp_path.iterdir()] == ["cifar-10-binary.tar.gz"]


def changed(name, content):
    return {**batches(), name: content}


# What is wrong, how to make it in a folder, and words that the error must have.
MNIST_MISUSE = {
    "nothing there": (
        lambda f: None,
        r"download=True.*Without one: Download into[\s\S]*ossci.*9,912,422 bytes",
    ),
    "no IDX file": (
        lambda f: write_mnist(f, b"<html>404</html>"),
        "is not an IDX file: it starts with 3c68746d",
    ),
    "an empty file": (
        lambda f: write_mnist(f, b"", packed=False),
        "is not an IDX file: it starts with nothing",
    ),
    "another type": (
        lambda f: write_mnist(f, idx(DIGITS, b"\0\0\x0d")),
        "holds IDX type 0x0d; only unsigned bytes",
    ),
    "a short header": (lambda f: write_mnist(f, idx(DIGITS)[:10]), "is cut short"),
    "cut short": (
        lambda f: write_mnist(f, idx(DIGITS)[:-1]),
        r"is cut short: its header promises 16 \+ 3,920",
    ),
    "too long": (lambda f: write_mnist(f, idx(DIGITS) + b"0"), "is longer than its header says"),
    "labels for images": (lambda f: write_mnist(f, idx(LABELS)), "must have 3 axes, and has 1"),
    "images for labels": (lambda f: write_mnist(f, None, idx(DIGITS)), "must have 1 axes, and has 3"),
    "too few labels": (lambda f: write_mnist(f, None, idx(LABELS[:4])), "5 images, but 4 labels"),
    "no digit": (lambda f: write_mnist(f, None, idx(LABELS + 1)), "holds the label 10 for sample 4.*0 to 9"),
    "a cut archive": (
        lambda f: (write_mnist(f) / "train-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(idx(DIGITS))[:-99]
        ),
        "is damaged or cut short",
    ),
    "a changed archive": (
        lambda f: (write_mnist(f) / "train-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(idx(DIGITS))[:-8] + b"12345678"
        ),
        "is damaged or cut short",
    ),
}
CIFAR10_MISUSE = {
    "nothing there": (lambda f: None, r"has neither[\s\S]*cifar-10-binary.tar.gz  \(170,052,171 bytes\)"),
    "no archive": (
        lambda f: (f / "cifar-10-binary.tar.gz").write_bytes(b"<html>"),
        "is damaged or cut short",
    ),
    "a cut archive": (
        lambda f: (f / "cifar-10-binary.tar.gz").write_bytes(
            (write_archive(f, batches()) / "cifar-10-binary.tar.gz").read_bytes()[:2000]
        ),
        "is damaged or cut short",
    ),
    "the version for Python": (
        lambda f: write_archive(f, {"data_batch_1": b"pickle"}),
        r"lacks data_batch_1.bin.*not the one for Python",
    ),
    "a way out": (
        lambda f: write_archive(f, {"../../evil": b"", **batches()}),
        "would unpack outside its folder",
    ),
    "an absolute way": (lambda f: write_archive(f, {"/etc/evil": b"", **batches()}), "would unpack outside"),
    "a link": (
        lambda f: write_archive(f, {n: c for n, c in batches().items() if n != TRAIN[0]}, [TRAIN[0]]),
        "is not a file of at most",
    ),
    "a giant": (
        lambda f: write_archive(f, changed(TRAIN[0], bytes(10_001 * 3073))),
        "not a file of at most 30,730,000",
    ),
    "cut short": (
        lambda f: write_archive(f, changed(TRAIN[2], records()[:-1])),
        "data_batch_3.bin is damaged or cut short: 36,875 bytes",
    ),
    "an empty batch": (lambda f: write_archive(f, changed(TRAIN[2], b"")), "data_batch_3.bin is damaged"),
    "no class": (
        lambda f: write_archive(f, changed(TRAIN[1], records(kinds=KINDS + 1))),
        "label 10 for sample 9.*0 to 9",
    ),
}


@pytest.mark.parametrize("what", MNIST_MISUSE)
def test_what_is_wrong_with_mnist_is_explained(what, tmp_path):
    prepare, words = MNIST_MISUSE[what]
    prepare(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        load_mnist(tmp_path, verify=False)


@pytest.mark.parametrize("what", CIFAR10_MISUSE)
def test_what_is_wrong_with_cifar10_is_explained(what, tmp_path):
    prepare, words = CIFAR10_MISUSE[what]
    prepare(tmp_path)
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        load_cifar10(tmp_path, verify=False)
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize("load", [load_mnist, load_cifar10])
def test_other_mistakes(load, tmp_path):
    write_mnist(tmp_path)
    write_archive(tmp_path, batches())
    with pytest.raises(ValueError, match="split must be 'train' or 'test', not 'validation'"):
        load(tmp_path, "validation")
    with pytest.raises(ValueError, match=r"is not the published file.*verify=False"):
        load(tmp_path)


class TestDownload:
    """`origin` is a folder that urllib reads as it would the net."""

    @pytest.fixture
    def origin(self, tmp_path, monkeypatch):
        origin = write_mnist(tmp_path / "net")
        write_mnist(origin, prefix="t10k")
        remotes = [
            _download.Remote(
                remote.name,
                len(content := (origin / remote.name).read_bytes()),
                hashlib.sha256(content).hexdigest(),
                (f"{(tmp_path / 'nowhere').as_uri()}/", f"{origin.as_uri()}/"),
            )
            for remote in mnist.REMOTES
        ]
        monkeypatch.setattr(mnist, "REMOTES", remotes)
        return origin

    def test_what_is_missing_comes(self, origin, tmp_path):
        folder = tmp_path / "data" / "mnist"
        paths = download_mnist(folder)
        assert sorted(folder.iterdir()) == sorted(paths) and len(paths) == 4
        assert all(path.read_bytes() == (origin / path.name).read_bytes() for path in paths)
        assert len(load_mnist(folder, download=True, verify=False)[0]) == 5

    def test_what_is_there_stays_and_what_is_damaged_comes_again(self, origin, tmp_path):
        paths = download_mnist(tmp_path / "data")
        paths[0].write_bytes(b"half a fi")
        for path in origin.iterdir():
            if path.name != paths[0].name:
                path.unlink()  # what is whole is not asked for again
        download_mnist(tmp_path / "data")
        assert paths[0].read_bytes() == (origin / paths[0].name).read_bytes()

    @pytest.mark.parametrize("content", [b"<html>404</html>", b"", None])
    def test_another_file_is_refused(self, origin, tmp_path, content):
        name = mnist.REMOTES[0].name
        (origin / name).write_bytes((origin / name).read_bytes() + b"0" if content is None else content)
        with pytest.raises(ConnectionError, match="what came is not the published file"):
            download_mnist(tmp_path / "data")
        assert list((tmp_path / "data").iterdir()) == []

    def test_offline_it_says_what_to_do(self, origin, tmp_path):
        for path in origin.iterdir():
            path.unlink()
        with pytest.raises(ConnectionError) as caught:
            MNIST(tmp_path / "data", download=True)
        message = str(caught.value)
        assert "get the files on another machine" in message and str(tmp_path / "data") in message
        assert all(remote.name in message for remote in mnist.REMOTES)
        assert list((tmp_path / "data").iterdir()) == []

    def test_an_interrupt_leaves_nothing(self, origin, tmp_path, monkeypatch):
        def interrupted(source, target):
            raise KeyboardInterrupt

        monkeypatch.setattr(_download.os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            download_mnist(tmp_path / "data")
        assert list((tmp_path / "data").iterdir()) == []

    def test_cifar10(self, tmp_path, monkeypatch):
        origin = tmp_path / "net"
        origin.mkdir()
        content = (write_archive(origin, batches()) / "cifar-10-binary.tar.gz").read_bytes()
        remote = _download.Remote(
            "cifar-10-binary.tar.gz",
            len(content),
            hashlib.sha256(content).hexdigest(),
            (f"{origin.as_uri()}/",),
        )
        monkeypatch.setattr(cifar10, "ARCHIVE", remote)
        assert download_cifar10(tmp_path / "data").read_bytes() == content
        assert len(CIFAR10(tmp_path / "data", download=True, verify=False)) == 10
