"""Cells of C that are right, wrong, crash, hang, forge or do not compile: what is said, and that nothing else
comes to harm."""

import os
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from tinytorch import kernels
from tinytorch.course import ckernel
from tinytorch.course.ckernel import compiler as compilers
from tinytorch.course.ckernel import magic, vectorizer

from .cells import MATMUL, RIGHT, ROWS, spoiled, starting

if sys.platform == "win32" or not any(map(shutil.which, compilers.CANDIDATES)):
    pytest.skip("needs a C compiler", allow_module_level=True)

COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
X86 = os.uname().machine == "x86_64"
QUICK = ckernel.Limits(seconds=1)
LITTLE = ckernel.Limits(memory=2**27)


def checked(source, operation="matmul", **options):
    return ckernel.compile(source, operation, **options).check()


# ---- what people get wrong, and the words that they need ----

WRONG = {
    "b by columns": (spoiled("b[p * n + j]", "b[j * k + p]"), r"b is read as if it were stored by columns"),
    "a by columns": (spoiled("a[i * k + p]", "a[p * m + i]"), r"a is read as if it were stored by columns"),
    "c transposed": (spoiled("c[i * n + j]", "c[j * m + i]"), r"c is written transposed.*c\[i \* n \+ j\]"),
    "not set to zero": (spoiled("= sum;", "+= sum;"), r"c is added to, but never set to 0"),
    "not written": (spoiled("c[i * n + j] = sum;", ""), r"c is never written"),
    "one product short": (spoiled("p < k", "p < k - 1"), r"the last of the k products is missing"),
    "starts at 1": (spoiled("p = 0", "p = 1"), r"the first of the k products is missing"),
    "one column short": (
        spoiled("j < n", "j < n - 1"),
        r"(?s)the last column of c is never written.*X wrong:\n    · · · X\n    · · · X",
    ),
    "one row short": (spoiled("i < m", "i < m - 1"), r"the last row of c is never written"),
    "zeros skipped": (
        spoiled("sum +=", "if (a[i * k + p] != 0) sum +="),
        r"wrong with m=5, k=6, n=7, with NaN and inf.* \(1 of 16 cases.*\n.*\n.*NaN and infinities are lost",
    ),
    "something kept": (
        spoiled("sum = 0.0f", "sum = 0.0f; static int calls; sum += calls++ > 0"),
        r"(?s)right in a first call and wrong in a second.*something is kept from call to call",
    ),
    "something else": (
        spoiled("= sum;", "= 2 * sum;"),
        r"wrong with m=2, k=3, n=4 \(1\d of 16 .*\n  The first is c\[0, 0\] = -14, and it should be -7",
    ),
}

CRASHES = {
    "one beyond the end of an input": (
        spoiled("p < k", "p <= k"),
        r"m=1, k=1, n=1: reads [ab]\[1\], and [ab] has one element: 1 beyond its end",
    ),
    "one beyond the end of the output": (
        spoiled("c[i * n + j] =", "c[i * n + j + 1] ="),
        r"writes c\[1\], and c has one element: 1 beyond its end",
    ),
    "one before the start of the output": (
        spoiled("c[i * n + j] =", "c[i * n + j - 1] ="),
        r"writes c\[-1\], and c has one element: 1 before its start",
    ),
    "one before the start of an input": (
        spoiled("a[i * k + p]", "a[i * k + p - 1]"),
        r"reads a\[-1\], and a has one element: 1 before its start",
    ),
    "beyond the end, later": (
        spoiled("c[i * n + j] =", "c[i * n + j + (j == n - 1 && n > 1)] ="),
        r"m=2, k=3, n=4: writes c\[8\], and c has 8 elements, c\[0\] to c\[7\]: 1 beyond its end",
    ),
    "an empty output": (starting("c[0] = 0;"), r"m=0, k=3, n=4: writes c\[0\], and c has no elements"),
    "an input written": (starting("((float *)b)[0] = 1;"), r"writes b\[0\], and b is an input: it is const"),
    "far out": (starting("((volatile float *)c)[-(1l << 40)] = 1;"), r"far from all arrays: an index that"),
    "a null pointer": (starting("*(volatile float *)0 = 1;"), r"a null pointer: .* never set, or what m"),
    "the stack": (
        "int deep(int n) { volatile char room[4096]; room[0] = 1; return deep(n + 1) + room[0]; }\n"
        + starting("c[0] = deep(0);"),
        r"the stack overflowed: a local array is too large.*calls itself",
    ),
    "division by zero": (
        starting("volatile int q = k / (n - 4); (void)q;"),
        r"m=2, k=3, n=4: it divides a whole number by zero",
    ),
    "assert": (starting("assert(m < 3);", "assert.h"), r"(?s)m=3.*aborted: by assert.*it printed.*`?m < 3"),
    "exit": (starting("exit(0);", "stdlib.h"), r"ended with exit code 0 inside the call. A kernel returns"),
    "closed pipes": (
        starting("for (int i = 0; i < 99; i++) close(i);", "unistd.h"),
        r"ended with exit code \d inside the call.*close files that are not its own",
    ),
    "forged": (
        starting('for (int i = 3; i < 99; i++) if (write(i, "passed passed", 12) < 0) continue;', "unistd.h"),
        r"something other than the result came back",
    ),
    "ended before it began": (
        "#include <unistd.h>\n__attribute__((constructor)) static void first(void) { _exit(0); }\n" + MATMUL,
        r"ended with exit code 0",
    ),
    "another name": (MATMUL.replace("matmul", "product"), r"no function of that name; it defines product"),
}  # fmt: skip

COMPILE_ERRORS = {
    "a semicolon": (
        spoiled("= sum;", "= sum"),
        r"(?s)at line 8 of the cell:\n +8 \| +c\[i \* n \+ j\] = sum\n.*a semicolon is missing",
    ),
    "other parameters": (
        spoiled("int m, int k, int n", "int n"),
        r"(?s)line 1 .*has to be declared as\n +void matmul\(const float \*a, .* int m, int k, int n\)",
    ),
    "no header": (spoiled("= sum;", "= expf(sum);"), r"(?s)line 8.*expf is .*#include <math.h>"),
    "two indices": (
        spoiled("c[i * n + j]", "c[i][j]"),
        r"(?s)line 8.*arrays are flat here.*c\[i \* n \+ j\]",
    ),
    "a typo": (spoiled("i * k", "i * K"), r"(?s)line 7.*K is not declared.*parameters are a, b, c, m, k, n"),
    "a constant": (starting("a[0] = 1;"), r"(?s)line 3.*inputs are const: only c may be written"),
    "a brace": (MATMUL.rstrip()[:-1], r"a closing brace is missing"),
    "not in this cell": (
        "float dot(const float *, int);\n" + starting("c[0] = dot(a, k);"),
        r"(?s)undefined.*not defined in this cell",
    ),
}
if X86:
    COMPILE_ERRORS["an instruction of another CPU"] = (
        starting("__m512 v = _mm512_loadu_ps(a); _mm512_storeu_ps(c, v);", "immintrin.h"),
        r"(?s)line [34] of the cell.*this CPU, or the flags, lack that instruction",
    )
    CRASHES["an aligned load"] = (
        starting("if (n == 190) _mm256_storeu_ps(c, _mm256_load_ps(a + 1));", "immintrin.h"),
        r"m=130, k=70, n=190: an aligned vector load or store met .*_mm256_loadu_ps",
    )  # fmt: skip


def assert_says(text, sentence):
    """The sentence is in the text; "reads" or "writes" may be both, where the system does not say which."""
    sentence = re.sub("reads|writes", lambda verb: f"(?:{verb[0]}|reads or writes)", sentence)
    assert re.search(sentence, str(text)), f"{sentence!r} is not in:\n{text}"


@pytest.mark.parametrize(("cell", "sentence"), WRONG.values(), ids=WRONG)
def test_a_wrong_result_is_explained(cell, sentence):
    report = checked(cell)
    assert not report.passed
    assert_says(report, sentence)


@pytest.mark.parametrize(("cell", "sentence"), CRASHES.values(), ids=CRASHES)
def test_a_crash_is_explained(cell, sentence):
    report = checked(cell)
    assert not report.passed
    assert_says(report, sentence)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(("cell", "sentence"), COMPILE_ERRORS.values(), ids=COMPILE_ERRORS)
def test_a_compile_error_is_explained(cell, sentence, compiler):
    kernel = ckernel.compile(cell, "matmul", compiler=compiler)
    assert_says(kernel.problem, sentence)
    assert not kernel.check().passed
    with pytest.raises(RuntimeError, match=r"(?s)cannot run, since it did not pass.*does not compile"):
        kernel(np.ones((2, 2)), np.ones((2, 2)))


def test_an_endless_loop_is_ended():
    start = time.monotonic()
    report = checked(starting("for (volatile int i = 0;; i++);"), limits=QUICK)
    assert_says(report, "m=1, k=1, n=1: not done within 1 s. Does each loop reach its end")
    assert time.monotonic() - start < 60


def test_children_end_with_it():
    """A child that would sleep for a minute, and whose number the cell prints, is gone."""
    report = checked(
        starting(
            "int child = fork(); if (!child) { sleep(600); _exit(0); }"
            'printf("child %d.", child); fflush(stdout); for (;;) sleep(1);',
            "stdio.h unistd.h",
        ),
        limits=QUICK,
    )
    assert_says(report, "not done within 1 s")
    child = int(re.search(r"child (\d+)\.", report.printed)[1])
    deadline = time.monotonic() + 30  # it has been killed, and may need a moment to go
    while alive(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(child)


def alive(process):
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="macOS does not limit memory")
def test_memory_is_limited():
    eats = (
        "for (;;) { volatile char *p = malloc(1 << 20); for (int i = 0; i < 1 << 20; i += 1024) p[i] = 1; }"
    )
    assert_says(checked(starting(eats, "stdlib.h"), limits=LITTLE), r"what malloc gave .* may have 0.125 GiB")


def test_what_is_printed_is_shown_and_counts_for_nothing():
    report = checked(starting('puts("all checks passed");', "stdio.h") + "\n")
    assert report.passed and "all checks passed" in str(report)
    report = checked(starting('puts("all checks passed"); fflush(stdout); return;', "stdio.h"))
    assert not report.passed


def test_printing_without_end_fills_no_disk():
    report = checked(starting('for (;;) puts("more and more");', "stdio.h"), limits=QUICK)
    assert not report.passed and len(str(report)) < 4000


@pytest.mark.parametrize("compiler", COMPILERS)
def test_asan_says_the_line(compiler):
    for cell, sentence in (
        (
            spoiled("c[i * n + j] =", "c[i * n + j + 1] ="),
            r"(?s)writes c\[1\].*line 8.*n \+ j \+ 1\] = sum",
        ),
        (spoiled("p < k", "p <= k"), r"(?s)reads [ab]\[1\].*line 7.*sum \+="),
        (starting("volatile float v[4]; v[m + 3] = 1;"), r"(?s)writes beyond the ends of v.*line 3"),
    ):
        kernel = ckernel.compile(cell, "matmul", compiler=compiler, sanitize=True)
        report = kernel.check()
        if "cannot make" in report.message:
            pytest.skip("the address sanitizer is not installed")
        assert_says(report, sentence)
    passing = ckernel.compile(MATMUL, "matmul", compiler=compiler, sanitize=True)
    assert passing.check().passed
    with pytest.raises(RuntimeError, match="compiled with --asan it is for checks"):
        passing(np.ones((2, 2)), np.ones((2, 2)))


# ---- the compiler's account ----


@pytest.mark.skipif(not X86, reason="vectors of other CPUs differ")
@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_compiler_says_which_loops_are_vectorised(compiler):
    flags = "-march=haswell"
    (sums,) = ckernel.compile(MATMUL, "matmul", compiler=compiler, flags=flags).explain()
    assert sums.line == 6 and sums.text.startswith("for (int p")
    assert sums.in_order or not sums.vectorized  # GCC adds in order, Clang does not try
    assert_says(sums, "ffast-math, or several sums")
    (sums,) = ckernel.compile(MATMUL, "matmul", compiler=compiler, flags=f"{flags} -ffast-math").explain()
    assert sums.vectorized and not sums.in_order
    rows = ckernel.compile(ROWS, "matmul", compiler=compiler, flags=flags).explain()
    widest = {"gcc": "32 bytes", "clang": "8 elements"}[compiler]
    assert [(loop.line, loop.at_once) for loop in rows if loop.vectorized] == [(7, widest)]
    calls = "for (int i = 0; i < m; i++)\n c[i] = expf(a[i]);\n"
    cell = "#include <math.h>\n" + spoiled("{\n    for (int i", "{\n" + calls + "    for (int i")
    assert_says(
        ckernel.compile(cell, "matmul", compiler=compiler).explain()[0], "calls a function for each element"
    )


def test_vectors_written_by_hand_are_not_taken_for_arrays_that_overlap():
    remarks = "cell.c:1:1: missed: not vectorized: no vectype for stmt: _1 = MEM[(const vec *)_2];\n"
    (loop,) = vectorizer.loops(remarks, "for (int v = 0; v < 2; v++) sum[v] += x * b[v];")
    assert_says(loop, "it works on vectors already")


# ---- where there is no compiler ----


def test_without_a_compiler(monkeypatch, capsys):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CC", raising=False)
    sentence = r"no C compiler here \(looked for cc, gcc, clang\).* brings one. Everything else"
    with pytest.raises(ckernel.CompilerMissing, match=sentence):
        ckernel.compile(MATMUL, "matmul")
    names = {}
    magic.run_cell("matmul", MATMUL, names)
    assert_says(capsys.readouterr().out, sentence)
    with kernels.use(matmul=names["mine"]):  # the notebook goes on, on the built-in kernel
        assert kernels.matmul(np.ones((2, 3)), np.ones((3, 2)))[0, 0] == 3


def test_on_windows(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(ckernel.CompilerMissing, match=r"need Linux or macOS; on Windows.*WSL"):
        ckernel.compile(MATMUL, "matmul")


# ---- use ----


def test_only_what_passed_runs_here():
    unchecked = ckernel.compile(MATMUL, "matmul")
    a = np.ones((2, 3), np.float32)
    with pytest.raises(RuntimeError, match=r"cannot run before it is checked: call check\(\) first"):
        unchecked(a, a.T)
    with pytest.raises(RuntimeError, match="cannot race before it is checked"):
        unchecked.race()
    wrong = ckernel.compile(WRONG["one product short"][0], "matmul")
    wrong.check()
    with (
        pytest.raises(RuntimeError, match=r"(?s)did not pass its check.*last of the k products"),
        kernels.use(matmul=wrong),
    ):
        kernels.matmul(a, a.T)


MISUSE = {
    "other inner sizes": (
        lambda mine: mine(np.ones((2, 3)), np.ones((2, 3))),
        r"(?s)a must be \(m, k\) and b \(k, n\), with the same k.*\(2, 3\)\n  b  \(2, 3\)",
    ),
    "a batch": (
        lambda mine: mine(np.ones((2, 3, 4)), np.ones((4, 5))),
        r"kernels.use\(matmul=mine\).*batches",
    ),
    "words": (lambda mine: mine(np.array([["a"]]), np.ones((1, 1))), "a must hold float32, and holds <U1"),
    "another operation": (
        lambda mine: ckernel.compile("", "matmull"),
        r"no operation 'matmull'; it can be matmul,",
    ),
    "a size that the race does not know": (
        lambda mine: mine.race(q=3),
        r"matmul has the sizes m, k, n, each at least 1, got q=3",
    ),
    "another compiler": (
        lambda mine: ckernel.compile("", "matmul", compiler="no-such-cc"),
        r"looked for no-such-cc",
    ),
}


@pytest.fixture(scope="module")
def mine():
    kernel = ckernel.compile(ROWS, "matmul")
    assert kernel.check().passed
    return kernel


@pytest.mark.parametrize(("mistake", "sentence"), MISUSE.values(), ids=MISUSE)
def test_misuse_is_explained(mistake, sentence, mine):
    with pytest.raises((ValueError, TypeError, RuntimeError), match=sentence):
        mistake(mine)


def test_it_can_be_called(mine):
    np.testing.assert_array_equal(mine([[1, 2]], np.array([[3.0], [4.0]])), [[11]])
    assert repr(mine).endswith("passed>")


def test_a_folder_lasts_as_long_as_its_kernel():
    kernel = ckernel.compile(MATMUL, "matmul")
    folder = kernel.folder
    assert (folder / "cell.c").exists()
    del kernel
    assert not folder.exists()


def test_a_race_tells_three_times_and_their_places(mine):
    result = mine.race(seconds=0.05, m=48, k=32, n=64)
    assert list(result.races.seconds) == ["yours", "plain loop", "TinyTorch"]
    assert result.operations == 2 * 48 * 32 * 64 and result.moved_bytes == 4 * (48 * 32 + 32 * 64 + 48 * 64)
    assert_says(result, r"m=48, k=32, n=64, measured.*\n  yours  .*GFLOP/s")
    points = result.rooflines()
    assert [point.name for point in points] == list(result.races.seconds)
    assert result.figure()._repr_png_().startswith(b"\x89PNG")


def test_a_race_that_goes_wrong_counts_for_nothing():
    """A cell that is right on all the checks' shapes, and wrong on others."""
    kernel = ckernel.compile(spoiled("= sum;", "= sum + (m == 47);"), "matmul")
    assert kernel.check().passed
    with pytest.raises(RuntimeError, match="is wrong with m=47, k=8, n=8, so its time means nothing"):
        kernel.race(seconds=0.02, m=47, k=8, n=8)
    kernel = ckernel.compile(starting("if (m == 47) abort();", "stdlib.h"), "matmul")
    assert kernel.check().passed
    with pytest.raises(RuntimeError, match="did not finish: exit code -6"):
        kernel.race(seconds=0.02, m=47, k=8, n=8)


def test_the_price_of_a_kernel(mine):
    a = np.ones((8, 8), np.float32)
    result = ckernel.price(lambda: kernels.matmul(a, a), matmul=mine, seconds=0.02)
    assert result.names == ("built-in", "yours") and result.ratio.value > 0


# ---- the cell ----


def test_the_cell_leaves_the_kernel_behind(capsys):
    names = {}
    magic.run_cell("matmul --name fast --no-race --flags -DX=1", RIGHT["matmul"], names)
    said = capsys.readouterr().out
    assert_says(said, r"(?s)-march=native -DX=1\nmatmul: right on 16 cases.*kernels.use\(matmul=fast\)")
    with kernels.use(matmul=names["fast"]):
        np.testing.assert_array_equal(kernels.matmul([[2.0]], [[3.0]]), [[6]])
    magic.run_cell("matmul --name fast --asan", WRONG["not written"][0], names)
    assert "never written" in capsys.readouterr().out
    with pytest.raises(RuntimeError):
        names["fast"]([[2.0]], [[3.0]])  # not the one from before


def test_help_shows_a_stub_that_compiles(capsys):
    magic.run_cell("--help", None, {})
    assert "--asan" in capsys.readouterr().out
    for name, operation in ckernel.OPERATIONS.items():
        magic.run_cell(f"--help {name}", "", {})
        assert operation.prototype in capsys.readouterr().out
        assert not ckernel.compile(operation.source(), name).problem


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("matmul --size big", "--size must look like m=512"),
        ("matmul --name 1", "--name must be a Python name"),
        ("matmul --flags", "--flags: expected one argument"),
        ("matmul --name 'mine", "No closing quotation"),
        ("matmul --fast", "unrecognized arguments: --fast"),
        ("mutmal", "no operation 'mutmal'"),
    ],
)
def test_a_wrong_line_is_explained(line, sentence):
    with pytest.raises(ValueError, match=sentence):
        magic.run_cell(line, MATMUL, {})


def test_in_a_notebook():
    """In an IPython of its own: the extension, the cell, its race, and a crash that ends nothing."""
    pytest.importorskip("IPython")
    script = f"""
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "tinytorch.course")
shell.run_cell_magic("ckernel", "matmul --size m=32,k=32,n=32", {ROWS!r})
shell.run_cell_magic("ckernel", "matmul --name crashes", {CRASHES["a null pointer"][0]!r})
print(type(shell.user_ns["mine"]).__name__, shell.user_ns["crashes"])
shell.run_cell("%%ckernel mutmal\\nvoid f(void);")
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert_says(result.stdout, r"(?s)right on 16.*yours is .*a null pointer.*StudentKernel .*did not pass")
    assert_says(result.stderr, "UsageError: ckernel: there is no operation 'mutmal'")
