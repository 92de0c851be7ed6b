"""A submission is not trusted: what it does to its own process earns nothing."""

import json
import time

import pytest

from tinytorch.course import building
from tinytorch.course.checks import Lab, expect
from tinytorch.grading import collect, write
from tinytorch.grading.isolate import Limits
from tinytorch.grading.judge import Judge

from . import labs

pytest.importorskip("jupytext")


@pytest.fixture
def lab():
    """A lab with two checks: the double of a number, and its square."""
    lab = Lab(99, "A lab for tests")

    @lab.add("double", points=2, seconds=4.0)
    def check_double(double, *, rng):
        """Twice a number."""
        for x in rng.standard_normal((3, 4)):
            expect((double(x) == 2 * x).all(), f"double({x}) should be {2 * x}", "x + x")

    @lab.add("square", points=1, seconds=4.0)
    def check_square(square, *, rng):
        """A number times itself."""
        expect(square(3) == 9, "square(3) should be 9", "x * x")

    return lab


def notebook(*sources):
    cells = [{"cell_type": "code", "source": source, "metadata": {}} for source in sources]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture
def grade(lab, tmp_path):
    def grade(*sources, **options):
        original = tmp_path / "original.ipynb"
        original.write_text(json.dumps(notebook("import given")))
        path = labs.save(notebook(*sources), tmp_path)
        with Judge(lab, collect.read(path, original), **options) as judge:
            return judge.judge()

    return grade


DOUBLE, SQUARE = "def double(x): return x + x", "def square(x): return x * x"


def test_a_cell_that_python_cannot_read_is_named(grade):
    double, square = grade("def double(x) return x + x", SQUARE).checks
    assert "no double in the notebook; Python cannot read a cell: expected ':'" in double.problem
    assert square.status == "passed"


def test_right_answers_get_all_points(grade):
    report = grade("import given", DOUBLE, SQUARE)
    assert report.points == report.possible == 3 and report.complete


def test_each_check_has_its_own_points_problem_and_hint(grade):
    report = grade("def double(x): return 2 * x + 1", SQUARE)
    wrong, right = report.checks
    assert (wrong.status, wrong.points, wrong.possible, wrong.hint) == ("failed", 0, 2, "x + x")
    assert "should be" in wrong.problem
    assert (right.status, right.points, right.problem) == ("passed", 1, "")


# What people have tried against graders that run tests and answers in one process.
FORGERIES = {
    "leaves with success": "import sys; sys.exit(0)",
    "leaves at once": "import os; os._exit(0)",
    "leaves when called": "import os\ndef double(x): os._exit(0)",
    "prints what a grader would": "print('{\"value\": true}'); print('3 passed'); print('points: 3')",
    "writes where answers go": (
        "import os\nfor fd in range(3, 20):\n"
        "  try: os.write(fd, b'\\x01\\0\\0\\0\\x04\\0\\0\\0\\0\\0\\0\\0true')\n"
        "  except OSError: pass"
    ),
    "closes every pipe": "import os\nos.closerange(0, 50)",
    "waits for the end": "import atexit, os\natexit.register(lambda: print('passed'))",
    "walks up the stack": (
        "import sys\nframe = sys._getframe()\nwhile frame.f_back:\n  frame = frame.f_back\n"
        "  frame.f_globals['expect'] = frame.f_locals['expect'] = lambda *a: None"
    ),
    "equals everything": (
        "class Yes:\n  def __eq__(self, other): return True\n  def all(self): return True\n"
        "  __array_priority__ = 1e9\ndef double(x): return Yes()\ndef square(x): return Yes()"
    ),
    "patches NumPy": ("np.ndarray.all = lambda *a: True\n"),
    "patches the comparison": "np.allclose = np.array_equal = np.testing = lambda *a: True",
    "patches the sender": "import sys\nsys.modules['wire'].send = lambda *a: None",
    "takes the sender over": (
        "import sys\nwire = sys.modules['wire']\nsend = wire.send\n"
        "wire.send = lambda stream, message, lift: send(stream, {'value': True}, lift)"
    ),
    "kills its parent": "import os, signal\nos.kill(os.getppid(), signal.SIGKILL)",
    "looks for the answers": "import tinytorch.course.checks as c\nc.expect = lambda *a: None",
    "reads the answers": "import inspect, sys\nsys.path.insert(0, '.')\nimport conftest",
    "starts a process": "import subprocess\nsubprocess.run(['true'])",
    "raises what is no Exception": "class Odd(BaseException):\n  def __str__(self): raise self\nraise Odd",
    "never ends": "while True: pass",
    "never ends when called": "def double(x):\n  while True: pass",
    "eats memory": "hoard = []\nwhile True: hoard.append(np.ones(10**7))",
    "recurses": "def double(x): return double(x)",
    "answers without end": "def double(x):\n  y = []\n  y.append(y)\n  return y",
    "sends too much": "def double(x): return np.zeros(10**9, np.int8)",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_no_forgery_earns_a_point(grade, forgery):
    start = time.monotonic()
    report = grade(FORGERIES[forgery], limits=Limits(seconds=1.0, memory=2**30))
    assert report.points == 0 and report.complete
    for check in report.checks:
        assert check.status in ("failed", "not graded") and check.problem
    assert time.monotonic() - start < 60


@pytest.mark.parametrize(
    "cell, reason",
    [
        ("import os\ndef double(x): os._exit(0)", "exit code 0"),
        ("import os, signal\ndef double(x): signal.raise_signal(signal.SIGSEGV)", "SIGSEGV"),
        ("def double(x):\n  while True: pass", "endless loop"),
    ],
)
def test_death_is_not_graded_with_the_reason_and_costs_one_check(grade, cell, reason):
    report = grade(cell, SQUARE)
    died, after = report.checks
    assert died.status == "not graded" and reason in died.problem and died.points == 0
    assert after.status == "passed" and after.points == 1


def test_printing_to_stderr_decides_nothing(grade):
    noise = "import sys, warnings\nwarnings.warn('!')\nprint('!', file=sys.stderr)\n"
    noisy = f"{noise}def square(x):\n  print('!', file=sys.stderr)\n  return x * x"
    assert grade(DOUBLE, noisy).points == 3


def test_error_names_the_line(grade):
    report = grade("def double(x):\n  y = x + 1\n  return y.no_such_thing", SQUARE)
    assert "AttributeError" in report.checks[0].problem


@pytest.mark.parametrize(
    "cells",
    [
        ["from tinytorch.answers import double"],
        ["import tinytorch as tt\ndef double(x): return tt.double(x)"],
        ["from tinytorch import kernels as k", "def double(x): return k.double(x)"],
        ["def double(x):\n  import tinytorch\n  return tinytorch.double(x)"],
        ["double = __import__('tiny' + 'torch').double"],
        ["import importlib, sys\nsys.meta_path.clear()\ndouble = importlib.import_module('tiny' + 'torch')"],
    ],
)
def test_answers_taken_from_tinytorch_fail(grade, cells):
    report = grade(*cells, SQUARE)
    assert report.checks[0].status == "failed" and "tinytorch" in report.checks[0].problem
    assert report.checks[1].status == "passed"


def test_tinytorch_in_a_cell_beside_the_answer_is_fine(grade):
    assert grade("import tinytorch as tt\ntt.kernels.cpu_info()", DOUBLE, SQUARE).points == 3


def test_changing_an_argument_in_place_fails(grade):
    report = grade("def double(x):\n  x *= 2\n  return x", SQUARE)
    assert report.checks[0].status == "failed" and "changed the array" in report.checks[0].problem


def test_magics_and_cells_that_are_no_python_cost_nothing_else(grade):
    report = grade("%timeit 1\n!ls\n" + DOUBLE, "%%bash\nls", "def square(x) return", SQUARE)
    assert report.points == 3


def test_partial_results_are_on_disk_after_each_check(lab, tmp_path):
    original = labs.save(notebook("import given"), tmp_path)
    path = tmp_path / "handed-in.ipynb"
    path.write_text(json.dumps(notebook(DOUBLE, SQUARE)))
    out = tmp_path / "out.json"
    with Judge(lab, collect.read(path, original), on_outcome=write.json_writer(out)) as judge:
        judge.run(lab.checks["double"])
        first = json.loads(out.read_text())
        assert (first["points"], first["complete"], len(first["checks"])) == (2, False, 1)
        judge.run(lab.checks["square"])
    last = json.loads(out.read_text())
    assert (last["points"], last["possible"], last["complete"]) == (3, 3, True)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"cells": 3}', '{"cells": [{}]}'])
def test_what_is_no_notebook_is_refused(tmp_path, text):
    original = labs.save(notebook(), tmp_path)
    path = tmp_path / "odd.ipynb"
    path.write_text(text)
    with pytest.raises(ValueError, match="no Jupyter notebook"):
        collect.read(path, original)


def test_functions_of_a_check_can_be_called_from_there(tmp_path):
    lab = Lab(98, "Calls back")

    @lab.add("twice", points=1)
    def check_twice(twice, Counter):
        """Calls a function two times."""
        calls = []
        twice(lambda value: calls.append(value))
        counter = Counter(5)
        counter.add(2)
        expect(calls == [0, 1] and counter.total == 7, f"called with {calls}, {counter.total}")

    cells = (
        "def twice(f):\n  for i in range(2): f(i)",
        "class Counter:\n  def __init__(self, n): self.total = n\n  def add(self, n): self.total += n",
    )
    original = labs.save(notebook(), tmp_path)
    path = tmp_path / "handed-in.ipynb"
    path.write_text(json.dumps(notebook(*cells)))
    with Judge(lab, collect.read(path, original)) as judge:
        assert judge.judge().points == 1


pytest_plugins = ["pytester"]


def run_plugin(pytester, *arguments):
    pytester._monkeypatch.setenv("PYTHONPATH", str(labs.NOTEBOOKS.parent))
    return pytester.runpytest_subprocess("-p", "tinytorch_pytest", "-p", "no:cacheprovider", *arguments)


@pytest.mark.parametrize("version, points", [("solved", 13), ("untouched", 0)])
def test_plugin_grades_a_lab_and_reads_nothing_beside_it(pytester, version, points):
    source = labs.LABS[17]
    make = building.instructor_version if version == "solved" else building.student_version
    labs.save(make(source), pytester.path)
    pytester.makeconftest("raise SystemExit('a forged conftest.py ran')")
    pytester.makepyfile(test_forged="def test_passes(): pass")
    out = pytester.path / "out.json"
    result = run_plugin(pytester, "--tinytorch-lab", "17", "--submission", "submission.ipynb", "--json", out)
    report = json.loads(out.read_text())
    assert report["points"] == points and report["complete"]
    passed = sum(check["status"] == "passed" for check in report["checks"])
    result.assert_outcomes(passed=passed, failed=len(report["checks"]) - passed)
    if version == "untouched":
        result.stdout.fnmatch_lines(["*Hint: *"])


def test_plugin_says_what_is_missing(pytester):
    result = run_plugin(pytester, "--tinytorch-lab", "17")
    assert result.ret != 0
    result.stderr.fnmatch_lines(["*--submission FILE*"])
