# make quickstart | test | lint | clean. Each sets up the environment that it needs in .venv.
# PYTHON=python3.12 chooses the interpreter; a machine without a GPU saves a large download with
# TORCH_INDEX=https://download.pytorch.org/whl/cpu; ARGS=... is handed on to the command.
PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q -c constraints.txt

.PHONY: quickstart test lint clean

quickstart: .venv/.installed
	$(BIN)/python -m ldc.train +experiment=lcm_bksdm $(ARGS)

test: .venv/.installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports

# torch comes first and pinned, so that no other package chooses its build.
.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) "torch==2.13.*"
	$(PIP) -e .
	touch $@

.venv/.installed-dev: .venv/.installed
	$(PIP) -e ".[dev]"
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache
	find ldc tests -name __pycache__ -type d -prune -exec rm -rf {} +
