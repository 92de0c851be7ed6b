"""What checks say, in a notebook: to students who are not done, to wrong answers, to borrowed ones."""

import importlib
import sys

import numpy as np
import pytest

from tinytorch import kernels, quantization
from tinytorch.course import open_lab, predictions
from tinytorch.course.checks import Lab, close, expect_error, same
from tinytorch.course.failures import Borrowed, CheckFailed, NotBuilt, NotYet, StudentError


@pytest.fixture
def lab():
    lab = Lab(99, "A lab for tests")

    @lab.add("double", points=2)
    def check_double(double, *, rng):
        """Twice a number."""
        x = rng.standard_normal(4)
        same("double", double(x), 2 * x, "x + x")

    return lab


def test_right_answer_says_so(lab, capsys):
    lab.check("double", lambda x: x + x)
    assert "double: right. Twice a number." in capsys.readouterr().out


def test_public_inputs_are_the_same_each_time_and_hidden_ones_are_not(lab):
    seen = []

    def double(x):
        seen.append(x.tobytes())
        return 2 * x

    for hidden in (False, False, True, True):
        lab.check("double", double, hidden=hidden)
    assert seen[0] == seen[1] and len(set(seen)) == len(seen) - 1


def stub(x):
    raise NotImplementedError()


def nothing(x):
    pass


def in_place(x):
    x *= 2
    return x


def borrowed(x):
    return kernels.matmul(x[None], 2 * np.eye(4))[0]


def hidden_import(x):
    return __import__("tinytorch.kernels").kernels.gelu(x)


class Derived(quantization.MinMaxObserver):
    def __call__(self, x):
        self.observe(x)


# The mistake, the kind of failure, and what its message must say.
MISUSE = [
    (stub, NotBuilt, "double is not built yet.*\n.*your code"),
    (None, NotBuilt, "double is not built yet"),
    (..., NotBuilt, "double is not built yet"),
    (nothing, CheckFailed, "double is None.*\n.*return"),
    (in_place, CheckFailed, "changed the array it was given"),
    (lambda x: x[:2], CheckFailed, r"shape \(4,\), and has \(2,\)"),
    (lambda x: (2 * x).astype(np.float32), CheckFailed, "should be float64, and is float32"),
    (lambda x: 2 * x + (np.arange(4) == 2), CheckFailed, r"double\[2\] should .* \(1 of 4 .*\nHint: x \+ x"),
    (lambda x: "8", CheckFailed, r"should be an array \(4,\), and is '8'"),
    (lambda x: x.nothing, StudentError, "double raised AttributeError"),
    (lambda: 1, StudentError, "TypeError.*\n.*signature"),
    (lambda x: exit(), StudentError, "SystemExit"),
    (borrowed, Borrowed, r"double uses tinytorch\.kernels.*\n.*NumPy"),
    (hidden_import, Borrowed, r"tinytorch\.kernels"),
    (Derived(), Borrowed, r"tinytorch\.quantization"),
    (kernels.gelu, Borrowed, r"tinytorch\.kernels"),
    (kernels.gelu.__globals__["_C"].gelu, Borrowed, r"tinytorch\._C"),
]  # fmt: skip


@pytest.mark.parametrize("answer, kind, message", MISUSE)
def test_wrong_answer_is_explained(lab, answer, kind, message):
    with pytest.raises(kind, match=message):
        lab.check("double", answer)


def test_a_function_may_import_what_is_not_tinytorchs(lab, monkeypatch):
    def double(x):
        monkeypatch.delitem(sys.modules, "colorsys", raising=False)  # so that Python has to look for it
        return importlib.import_module("colorsys") and 2 * x

    lab.check("double", double)


def test_what_is_not_done_yet_is_a_not_implemented_error(lab):
    with pytest.raises(NotImplementedError):
        lab.check("double", stub)


def test_stderr_and_warnings_reach_stdout_only(lab, capsys):
    import sys
    import warnings

    def loud(x):
        warnings.warn("!", stacklevel=1)
        print("on stderr", file=sys.stderr)
        return 2 * x

    lab.check("double", loud)
    assert capsys.readouterr().err == ""


def test_unknown_check_and_wrong_number_of_objects(lab):
    with pytest.raises(ValueError, match="no check 'tripel'; it has double"):
        lab.check("tripel", stub)
    with pytest.raises(TypeError, match="takes double"):
        lab.check("double", stub, stub)
    with pytest.raises(ValueError, match="there is no lab 98"):
        open_lab(98)
    with pytest.raises(ValueError, match="two checks named 'double'"):
        lab.add("double", points=1)(lambda double: None)


def test_close_scales_with_the_largest_value():
    close("x", np.array([1e6, 1.0]), np.array([1e6, 1.5]))
    with pytest.raises(CheckFailed, match=r"x\[1\]"):
        close("x", np.array([1.0, 1.0]), np.array([1.0, 1.5]))
    with pytest.raises(CheckFailed, match="x should be"):
        close("x", np.nan, 1.0)


def test_expected_error_must_come():
    def fails(x):
        raise StudentError("f", ["KeyError", "LookupError"], "x")

    expect_error("LookupError", fails, 1)
    with pytest.raises(CheckFailed, match="a ValueError was expected"):
        expect_error("ValueError", fails, 1)
    with pytest.raises(CheckFailed, match="must raise ValueError"):
        expect_error("ValueError", nothing, 1)


# --- predictions -------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_measuring_needs_a_guess_first(lab, folder):
    with pytest.raises(NotYet, match=r"first guess, then measure.*'speed'"):
        lab.prediction("speed")
    with pytest.raises(NotYet, match=r"no prediction yet.*\n.*ratio"):
        lab.predict("speed", ratio=...)
    lab.predict("speed", ratio=2, size=64.0)
    assert lab.prediction("speed") == {"ratio": 2, "size": 64.0}


def test_guess_can_change_until_its_outcome_is_seen(lab, folder, capsys):
    lab.predict("speed", ratio=2)
    lab.predict("speed", ratio=3)
    assert lab.prediction("speed") == {"ratio": 3}
    lab.predict("speed", ratio=1.1)
    assert "stays what it was: ratio = 3" in capsys.readouterr().out
    assert lab.prediction("speed") == {"ratio": 3}


@pytest.mark.parametrize("value", ["4", None, True, float("nan"), float("inf")])
def test_guess_is_a_number(lab, folder, value):
    with pytest.raises(ValueError, match="ratio must be a number"):
        lab.predict("speed", ratio=value)


def test_damaged_file_is_named(folder):
    (folder / "predictions.json").write_text("{")
    with pytest.raises(ValueError, match=r"predictions\.json is damaged"):
        predictions.read()


def test_export_has_all_guesses_and_no_names(tmp_path):
    for student, ratio in (("zoe", 2), ("ada", 4)):
        (tmp_path / student).mkdir()
        predictions.store(17, "int8", {"ratio": ratio}, tmp_path / student)
    text = predictions.export([tmp_path])
    assert text.splitlines() == ["lab,prediction,name,value", "17,int8,ratio,2", "17,int8,ratio,4"]
