# make check, one target for each kind of check. `make check-asan` and so on run one alone.

CHECKS = check-style check-clang check-asan check-tsan check-mingw check-aarch64 check-x86-emulated \
    check-avx512 check-python-asan check-oldest-numpy check-package check-import-time check-notebooks check-nbgrader check-browser

TOOLS = gcc clang x86_64-w64-mingw32-gcc aarch64-linux-gnu-gcc qemu-aarch64 qemu-x86_64 \
    bochs busybox xorriso chromium
C_TESTS = $(BIN)/python csrc/tests/build.py

.PHONY: check check-tools tests-x86 $(CHECKS)

check: check-tools $(CHECKS)
	@echo 'All checks passed.'

check-tools:
	@sh .ci/needs $(TOOLS)

$(CHECKS): check-tools $(VENV)/installed

check-style: $(VENV)/dev-extra
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

# Warnings are errors in all builds of the C tests.
check-clang:
	$(C_TESTS) build/tests-clang --cc clang
	build/tests-clang

# Allocations that cannot succeed are among the tests, so the sanitizers must let them fail.
check-asan:
	$(C_TESTS) build/tests-asan --cc gcc --flags='-O1 -g -fno-var-tracking -fsanitize=address,undefined -fno-sanitize-recover=all'
	ASAN_OPTIONS=allocator_may_return_null=1 build/tests-asan

check-tsan:
	$(C_TESTS) build/tests-tsan --cc gcc --flags='-O1 -g -fno-var-tracking -fsanitize=thread'
	TSAN_OPTIONS=allocator_may_return_null=1:die_after_fork=0 build/tests-tsan

# Windows: compiled and linked, with its own threads; there is nothing here to run it.
check-mingw:
	$(C_TESTS) build/tests-windows.exe --cc x86_64-w64-mingw32-gcc --machine x86_64

# An emulated CPU kills a program that uses what it lacks: so levels are told apart, and kept apart.
check-aarch64:
	$(C_TESTS) build/tests-aarch64 --cc aarch64-linux-gnu-gcc --machine aarch64 --flags=-static
	qemu-aarch64 -cpu max build/tests-aarch64 neondot
	qemu-aarch64 -cpu cortex-a53 build/tests-aarch64 neon scalar

tests-x86: check-tools $(VENV)/installed
	$(C_TESTS) build/tests-x86 --cc gcc --machine x86_64 --flags=-static

check-x86-emulated: tests-x86
	qemu-x86_64 -cpu Haswell build/tests-x86 avx2
	qemu-x86_64 -cpu Nehalem build/tests-x86 scalar

# A CPU that has VNNI ran these levels in check-clang; any other takes some minutes to emulate it.
check-avx512: tests-x86
	grep -q avx512_vnni /proc/cpuinfo || .ci/emulate_avx512 build/tests-x86 vnni avx512

# The kernels again as Python calls them, in a second build that watches memory and undefined behaviour.
# The interpreter itself leaks a little on exit, so leaks are left to check-asan.
check-python-asan: $(VENV)/test-extra
	rm -rf build/asan
	TINYTORCH_CFLAGS='-O1 -g -fno-var-tracking -fsanitize=address,undefined -fno-sanitize-recover=undefined' \
	    LDFLAGS=-fsanitize=address,undefined $(BIN)/python setup.py -q build --build-base build/asan
	PYTHONPATH=$$(echo build/asan/lib.*) PYTHONMALLOC=malloc \
	    ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	    LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	    $(BIN)/pytest -q -n auto -m kernel -p no:cacheprovider

# One build serves NumPy 1.26 and 2: the same extension, under the oldest NumPy.
check-oldest-numpy: $(VENV)/test-extra
	test -d build/oldest-numpy || $(PIP) install --target build/oldest-numpy 'numpy==1.26.*'
	PYTHONPATH=build/oldest-numpy $(BIN)/pytest -q -n auto -m kernel -p no:cacheprovider

check-package:
	$(BIN)/python .ci/package.py

check-import-time:
	$(BIN)/python .ci/import_time.py

# The notebooks are what their sources say, and run from top to bottom, solved and not yet solved.
check-notebooks: $(VENV)/course-extra
	$(BIN)/tinytorch course build --check
	$(BIN)/python .ci/notebooks.py

# nbgrader hands the labs out, validates them, and grades one.
check-nbgrader: $(VENV)/course-extra $(VENV)/grade-extra
	$(BIN)/python .ci/nbgrader.py

# JupyterLab in a real browser runs a notebook and shows its pictures.
check-browser: $(VENV)/course-extra
	$(BIN)/python .ci/browser.py
