# Everything from a fresh clone: make quickstart | make test | make check | make bench
# PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUDGET ?= 5m
TASK ?= topics

.PHONY: quickstart test check format bench clean

quickstart: $(VENV)/quickstart.stamp
	$(BIN)/unmask quickstart --task $(TASK) --budget $(BUDGET)

test: check
	$(BIN)/python -m pytest

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/dev.stamp
	@echo "benchmarks, each with --help:"
	@ls benchmarks/*.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# constraints.txt pins what is tested, and the CPU build of torch: a looser request may fetch gigabytes of CUDA
$(VENV)/python.stamp:
	$(PYTHON) -c 'import sys; sys.exit("unmask needs Python 3.11 or newer; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/quickstart.stamp: pyproject.toml constraints.txt $(VENV)/python.stamp
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[quickstart]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt $(VENV)/python.stamp
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/quickstart.stamp
