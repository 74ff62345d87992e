# make quickstart | test | lint | pictures | ablations | clean. Each sets up the environment that it needs in .venv.
# PYTHON=python3.12 chooses the interpreter; a machine without a GPU saves a large download with
# TORCH_INDEX=https://download.pytorch.org/whl/cpu; ARGS=... is handed on to the command.
# pictures: SHEET=... and SWEEP=... go to the commands behind ARGS'; PICTURES=FOLDER writes there, not into the project.
PYTHON ?= python3
TORCH_INDEX ?=
ARGS ?=
SHEET ?=
SWEEP ?=
PICTURES ?= .
BIN := .venv/bin
PIP := $(BIN)/python -m pip install -q -c constraints.txt

.PHONY: quickstart test lint pictures ablations clean

quickstart: .venv/.installed
	$(BIN)/python -m ldc.train +experiment=lcm_bksdm $(ARGS)

test: .venv/.installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check
	$(BIN)/lint-imports
	$(BIN)/shellcheck .ci/* docker/*.sh launch/*.sh launch/examples/*/*.sbatch
	$(BIN)/hadolint docker/Dockerfile

# The comparison of the default run (trained first where it is not finished), the teacher's sheet, its guidance sweep.
pictures: .venv/.installed
	mkdir -p outputs/pictures $(PICTURES)/docs $(PICTURES)/assets/emoji_ldm
	$(BIN)/python -m ldc.train +experiment=lcm_bksdm $(ARGS) > outputs/pictures/train.json
	run=$$($(BIN)/python -c 'import json; print(json.load(open("outputs/pictures/train.json"))["run"])') && \
		cp "$$run/samples/comparison.png" $(PICTURES)/docs/
	$(BIN)/python -m ldc.generate student=emoji_ldm prompts_file=assets/emoji_ldm/prompts.txt seed=1 columns=8 $(SHEET) \
		out=outputs/pictures/samples.png
	cp outputs/pictures/samples.png $(PICTURES)/assets/emoji_ldm/
	$(BIN)/python -m ldc.evaluate student=emoji_ldm data=emoji64 guidance=[1,1.5,2,3,4,5] num_images=256 $(SWEEP) \
		out=outputs/pictures/guidance
	cp outputs/pictures/guidance/guidance_sweep.png $(PICTURES)/docs/

# Hours on a CPU; goes on where it stopped. ARGS="seeds=[0] document=null" makes a part, with its tables in
# outputs/ablations/results; ARGS=dry_run=true says what is left.
ablations: .venv/.installed
	$(BIN)/python -m ldc.ablate ablation=bksdm document=docs/results.md $(ARGS)
	$(BIN)/python -m ldc.ablate ablation=lcm document=docs/results.md $(ARGS)

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
