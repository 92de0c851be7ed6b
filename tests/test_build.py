"""How the package is built, what importing it does, and what the environment decides."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tinytorch import kernels

ROOT = Path(__file__).parent.parent
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="asks Linux's /proc or scheduler")


def python(code, **environment):
    """What a fresh interpreter prints, or its last line of error."""
    settings = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    result = subprocess.run(
        [sys.executable, "-c", code], env={**settings, **environment}, capture_output=True, text=True
    )
    return result.stdout.strip() if result.returncode == 0 else result.stderr.strip().splitlines()[-1]


class TestImport:
    def test_brings_in_numpy_alone(self):
        loaded = python("import sys, tinytorch.kernels; print(*sys.modules)").split()
        assert "numpy" in loaded
        assert not {"matplotlib", "rich", "tqdm", "torch", "scipy"} & set(loaded)

    def test_without_the_extension_says_what_to_do(self):
        message = python("import sys; sys.modules['tinytorch._C'] = None; import tinytorch")
        assert message.startswith("ImportError: TinyTorch's compiled kernels are missing")
        assert "pip install -e ." in message

    @linux_only
    def test_starts_no_thread(self):
        count = "print(len(os.listdir('/proc/self/task')))"
        code = f"import os, numpy; {count}; import tinytorch; from tinytorch import kernels; {count}"
        work = "a = numpy.ones((512, 512), 'f'); kernels.matmul(a, a)"
        before, after, working = python(f"{code}; {work}; {count}", TINYTORCH_NUM_THREADS="3").split()
        assert before == after
        assert int(working) == int(after) + 2


class TestLevels:
    def test_each_can_be_asked_for(self):
        code = "from tinytorch import kernels; print(kernels.cpu_info()['level'])"
        for level in kernels.cpu_info()["levels"]:
            assert python(code, TINYTORCH_CPU=level) == level

    def test_a_level_that_the_machine_lacks_is_refused(self):
        message = python("import tinytorch._C", TINYTORCH_CPU="pentium")
        assert "ImportError: TINYTORCH_CPU=pentium" in message
        assert message.endswith("scalar")


class TestThreads:
    CODE = "from tinytorch import kernels; print(kernels.get_num_threads())"

    def test_count_comes_from_the_environment(self):
        assert python(self.CODE, TINYTORCH_NUM_THREADS="3", OMP_NUM_THREADS="5") == "3"
        assert python(self.CODE, OMP_NUM_THREADS="5") == "5"
        assert python(self.CODE, OMP_NUM_THREADS="4,2", TINYTORCH_NUM_THREADS="") == "4"

    @pytest.mark.parametrize("value", ["0", "-1", "two", "1.5"])
    def test_a_count_that_is_none_is_an_error(self, value):
        assert f"TINYTORCH_NUM_THREADS={value}" in python(self.CODE, TINYTORCH_NUM_THREADS=value)

    @linux_only
    def test_count_is_else_that_of_the_usable_cpus(self):
        one = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
        assert python(f"{one}; {self.CODE}") == "1"
        assert python(self.CODE) == str(len(os.sched_getaffinity(0)))

    def test_set_num_threads_refuses_what_is_no_count(self):
        for wrong in (0, -3):
            with pytest.raises(ValueError, match="at least 1"):
                kernels.set_num_threads(wrong)
        with pytest.raises(TypeError):
            kernels.set_num_threads(2.5)


@pytest.fixture
def setup_py(monkeypatch):
    """setup.py as a module, run from the root as a build does."""
    monkeypatch.chdir(ROOT)
    spec = importlib.util.spec_from_file_location("setup_py", ROOT / "setup.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


class TestSources:
    def groups(self, setup_py, machine):
        return setup_py.groups(setup_py.level_flags(machine), ("runtime", "ops", "python"))

    def test_every_file_is_built(self, setup_py):
        machines = ("x86_64", "aarch64")
        built = {file for m in machines for group in self.groups(setup_py, m) for file in group.sources}
        assert built == set(Path("csrc").rglob("*.c")) - set(Path("csrc/tests").rglob("*.c"))

    def test_the_flags_of_a_level_go_to_its_own_files(self, setup_py):
        for group in self.groups(setup_py, "x86_64"):
            if any(flag.startswith("-m") for flag in group.flags):
                assert group.folder in ("avx2", "avx512", "vnni")
                assert {file.parts[1] for file in group.sources} <= {"microkernels", "lessons"}


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script")
def test_what_is_missing_is_named_with_the_command_that_brings_it():
    needs = ["sh", str(ROOT / ".ci" / "needs")]
    environment = {**os.environ, "PYTHON": "no-such-python"}
    python = subprocess.run([*needs, "python"], env=environment, capture_output=True, text=True)
    assert python.returncode == 1
    assert "Python 3.10" in python.stderr
    assert "install" in python.stderr
    tool = subprocess.run([*needs, "sh", "no-such-tool"], capture_output=True, text=True)
    assert tool.returncode == 1
    assert "apt-get install -y no-such-tool" in tool.stderr
