# `make demo` and `make test` are all that a new machine with Python 3.11+ needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
LOWEST ?= .venv-lowest
# Idle OpenMP threads soon fall asleep: on a shared machine this saves up to half the time.
export GOMP_SPINCOUNT ?= 10000

.PHONY: install demo test test-long test-lowest lint format clean

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

# short forms of the campaigns (tests/campaigns), the wheel outside the checkout, what takes minutes
test-long: install
	$(BIN)/python -m pytest -m long

# The fast tests with the lowest versions that pyproject.toml allows, on the lowest Python. uv picks
# them, as pip cannot, and downloads about 3 GB the first time.
test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -m "not slow and not integration and not long"

$(LOWEST)/.installed: pyproject.toml setup.py tools/install_detectron2.py
	$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] != (3, 11) and 'The lowest versions are for Python 3.11, this is ' + sys.version.split()[0] + '; name it with make test-lowest PYTHON=python3.11')"
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LOWEST)/bin/uv pip install --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable ".[dev]"
	$(LOWEST)/bin/python tools/install_detectron2.py
	touch $@

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(LOWEST) build output datasets/demo* *.egg-info .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
