# `make demo` and `make test` are all that a new machine with Python 3.11+ needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Idle OpenMP threads soon fall asleep: on a shared machine this saves up to half the time.
export GOMP_SPINCOUNT ?= 10000

.PHONY: install demo test test-long lint format clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml setup.py tools/install_detectron2.py
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Python 3.11 or newer is needed, this is ' + sys.version.split()[0] + '; name another one with make PYTHON=python3.11')"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	$(BIN)/python tools/install_detectron2.py
	touch $@

demo: install
	$(BIN)/python tools/demo.py

test: install
	$(BIN)/python -m pytest

# short forms of the campaigns (tests/campaigns) and what takes minutes
test-long: install
	$(BIN)/python -m pytest -m long

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build output datasets/demo* *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
