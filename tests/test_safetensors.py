"""The safetensors format: round trips, the library's files where it is installed, and files not to trust."""

import json

import numpy as np
import pytest

from tinytorch.interop.safetensors import SafetensorsError, load_file, save_file

ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "half": np.array([1.5], np.float16),
    "scalar": np.array(7),
    "empty": np.zeros((0, 4), np.int8),
    "mask": np.array([True, False]),
    "big-endian": np.arange(3, dtype=">i4"),
    "größe": np.array([255], np.uint8),
}


def test_round_trip(tmp_path):
    save_file(ARRAYS, tmp_path / "file", {"format": "test"})
    arrays, metadata = load_file(tmp_path / "file")
    assert metadata == {"format": "test"} and list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert np.array_equal(arrays[name], array) and arrays[name].shape == array.shape
        assert arrays[name].dtype == array.dtype.newbyteorder("=") and arrays[name].flags.writeable
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_library_agrees(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    native = {name: np.ascontiguousarray(a) for name, a in ARRAYS.items() if name != "big-endian"}
    save_file(native, tmp_path / "ours")
    library.save_file(native, tmp_path / "theirs", {"a": "b"})
    assert load_file(tmp_path / "theirs")[1] == {"a": "b"}
    for arrays in (library.load_file(tmp_path / "ours"), load_file(tmp_path / "theirs")[0]):
        assert arrays.keys() == native.keys()
        for name, array in native.items():
            assert np.array_equal(arrays[name], array) and arrays[name].dtype == array.dtype


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"a": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}


def test_bfloat16_becomes_float32(tmp_path):
    values = np.array([1.0, -2.5, 3e38], np.float32)
    upper = (values.view(np.uint32) >> 16).astype("<u2")
    (tmp_path / "file").write_bytes(raw(entry("BF16", (3,), (0, 6)), upper.tobytes()))
    loaded = load_file(tmp_path / "file")[0]["a"]
    assert loaded.dtype == np.float32
    np.testing.assert_allclose(loaded, values, rtol=1e-2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no safetensors file"),
        (b"\x80\x04]\x94.", "no safetensors file"),
        (b"\xff" * 8, "no safetensors file"),
        (raw(b"{}")[:-1], "1 of the header's 2 bytes"),
        (raw(b"{oops"), "header cannot be read"),
        (raw(b"\xff\xfe"), "header cannot be read"),
        (raw([1]), "not a table"),
        (raw({"a": 3}), "entry of a is not one of an array"),
        (raw({"a": {"dtype": "F32", "shape": [1]}}), "entry of a"),
        (raw(entry("F8_E4M3")), "type F8_E4M3"),
        (raw(entry(shape=(2,)), b"1234"), r"shape \[2\], which does not fit its place, 0 to 4"),
        (raw(entry(shape=(-1,), offsets=(4, 0)), b"1234"), "does not fit"),
        (raw(entry(shape=(True,)), b"1234"), "does not fit"),
        (raw(entry(shape=(2**62, 4), offsets=(0, 0))), "does not fit"),
        (raw(entry(), b"12"), "a ends at byte 4 of 2"),
        (raw(entry(), b"12345"), "1 bytes belong to no array"),
        (raw(entry(offsets=(4, 8)), b"12345678"), "side by side at byte 0"),
        (raw({**entry(), "b": entry()["a"]}, b"1234"), "side by side at byte 4"),
    ],
)
def test_files_that_are_not_whole(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(SafetensorsError, match=message):
        load_file(tmp_path / "file")


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(TypeError, match="names holds <U1"):
        save_file({"names": np.array(["a"])}, tmp_path / "file")
    assert not list(tmp_path.iterdir())
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        save_file({}, tmp_path / "nowhere" / "file")
