# Everything from a fresh clone: make quickstart | make test | make check | make bench
# PYTHON chooses the interpreter (3.11 or newer).
# make quickstart BUDGET=10m OPTIONS="--lang zh --task reviews" does another job.
# make bench lists the benchmarks; make bench NAME=encoding OPTIONS="--rounds 3" runs one.
# make parity compares public checkpoints, read here and there, with transformers.
PYTHON ?= python3
VENV := .venv
BENCH := .bench-venv
BIN := $(VENV)/bin
BUDGET ?= 5m

.PHONY: quickstart test check format bench parity clean

quickstart: $(VENV)/quickstart.stamp
	$(BIN)/unmask quickstart --budget $(BUDGET) $(OPTIONS)

# in two processes, each file in one: the commands of a guide build on each other
test: check
	$(BIN)/python -m pytest -n 2 --dist loadfile

check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# our numbers beside those of transformers, for every public family: nothing that the tests need
parity: $(BENCH)/parity.stamp
	$(BENCH)/bin/python -m pytest -q parity

# only a NAME that is given to make: some systems have a variable of that name
bench: $(BENCH)/bench.stamp
	@$(BENCH)/bin/python -m benchmarks $(if $(filter command,$(firstword $(origin NAME))),$(NAME) $(OPTIONS))

clean:
	rm -rf $(VENV) $(BENCH) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# constraints.txt pins what is tested, and the CPU build of torch: a looser request may fetch gigabytes of CUDA
%/python.stamp:
	$(PYTHON) -c 'import sys; sys.exit("unmask needs Python 3.11 or newer; try: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $*
	@touch $@

$(VENV)/quickstart.stamp: pyproject.toml constraints.txt $(VENV)/python.stamp
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[quickstart]'
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt $(VENV)/python.stamp
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/quickstart.stamp

# the peers that we measure ourselves against: in an environment of their own, so that nothing else can lean on them
$(BENCH)/bench.stamp: pyproject.toml constraints.txt $(BENCH)/python.stamp
	$(BENCH)/bin/python -m pip install --quiet -c constraints.txt -e '.[quickstart,bench]'
	@touch $@

$(BENCH)/parity.stamp: $(BENCH)/bench.stamp
	$(BENCH)/bin/python -m pip install --quiet -c constraints.txt -e '.[parity]'
	@touch $@
