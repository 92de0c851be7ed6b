# make demo    sets everything up and runs the report: what each optimization is worth on this machine
# make test    sets everything up and runs the tests
# make bench   sets everything up and races the kernels against NumPy, PyTorch, ONNX Runtime and SciPy
# make check   what a plain machine lacks: sanitizers, other compilers, emulated CPUs, notebooks (Linux)
# make clean   removes all that these built
#
# Nothing is installed outside .venv. A second run reuses it, and needs no network.

VENV = .venv
BIN = $(VENV)/bin
# What `make bench` races against: a build for CPUs is enough, and pip may need to be told where one is:
# make bench TORCH='torch --index-url ...'
TORCH = torch==2.13.0
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet

# What the installed package is made from; its Python files are used where they lie.
SOURCES = setup.py pyproject.toml $(shell find csrc -name tests -prune -o -name '*.[ch]' -print)

.PHONY: demo test bench check clean
.DELETE_ON_ERROR:

demo: $(VENV)/installed
	$(BIN)/tinytorch report

# The tests marked `kernel` run again on each of the machine's other CPU levels.
test: $(VENV)/test-extra
	$(BIN)/python -m pytest -n auto
	for level in $$($(BIN)/python .ci/levels.py); do \
	    echo "TINYTORCH_CPU=$$level"; \
	    TINYTORCH_CPU=$$level $(BIN)/python -m pytest -q -n auto -m kernel || exit 1; \
	done

# A part of it: make bench BENCH='matmul:512 conv --threads 1'
bench: $(VENV)/bench-extra
	$(BIN)/python -m benchmarks $(BENCH)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -f tinytorch/_C.*.so

# The stamps: each step is done again only when what it depends on has changed.
$(VENV)/made:
	python=$$(PYTHON='$(PYTHON)' sh .ci/needs python) && "$$python" -m venv $(VENV)
	$(PIP) install 'setuptools>=68' 'numpy>=2.0'
	touch $@

$(VENV)/installed: $(VENV)/made $(SOURCES)
	@echo 'Building TinyTorch: up to a minute.'
	$(PIP) install --no-build-isolation --editable .
	touch $@

$(VENV)/bench-extra: $(VENV)/installed
	$(PIP) install $(TORCH)
	$(PIP) install 'tinytorch[bench]'
	touch $@

# Already installed, so only what the extra adds is fetched.
$(VENV)/%-extra: $(VENV)/installed
	$(PIP) install 'tinytorch[$*]'
	touch $@

include .ci/check.mk
