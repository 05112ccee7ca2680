# Everything runs in .venv, which the targets make and fill as they need it; what needs CuPy, and so
# must not share it, in .venv-cupy, what is compared with PyTorch in .venv-parity, and what builds the
# site in .venv-docs.

PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
PACKAGE := $(VENV)/.package-installed
DEV := $(VENV)/.dev-installed
BENCH := $(VENV)/.bench-installed
CUPY_VENV := .venv-cupy
CUPY := $(CUPY_VENV)/.installed
PARITY_VENV := .venv-parity
PARITY := $(PARITY_VENV)/.installed
DOCS_VENV := .venv-docs
DOCS := $(DOCS_VENV)/.installed
DOCS_BUILD := build/docs-site
PIP_INSTALL := $(BIN)/python -m pip install --quiet
PYTEST := $(BIN)/pytest -n auto --dist worksteal
COMPARED := tests/parity tests/problems/expressions/test_sympy.py tests/inference \
    tests/tuning/test_sets.py tests/tuning/test_tpe.py tests/tuning/test_unusual_studies.py \
    tests/test_documentation.py::test_commands_that_need_a_library_can_be_planned \
    'tests/test_documentation.py::test_what_is_shown_runs_and_prints_that[optimizer-plugins.md]' \
    tests/test_plugin_travel.py::test_an_optimizer_of_pytorch_travels

export PIP_DISABLE_PIP_VERSION_CHECK = 1
# Tests start Python a hundred times, which takes seconds each time without compiled modules.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-cupy test-parity docs docs-site notebook bench gpu check coverage gate format ci clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo 'PYTHON=python3.12 picks the Python that .venv is made with; make clean lets go of the old one.'

demo: $(PACKAGE) ## install optbench, run both textbook suites, draw their figures and write a report
	$(BIN)/optbench run
	@echo 'Drawing the figures'
	@figures=$$($(BIN)/optbench plot) && \
	function=$$(printf '%s\n' "$$figures" | sed -n 's|/plots/anisotropic-trajectory.png$$||p') && \
	surface=$$($(BIN)/optbench plot --kind surface "$$function") && \
	field=$$($(BIN)/optbench plot --kind field "$$function") && \
	for figure in $$figures $$surface $$field; do \
	    case "$$figure" in \
	    *-trajectory.png) shows='the steps of each optimizer on x²/20 + y², from the ring to the minimum at the plus' ;; \
	    *-surface.png) shows='x²/20 + y² as a surface, over its contours' ;; \
	    *-field.png) shows='the gradients of x²/20 + y², which they follow' ;; \
	    *anisotropic-loss.png) shows='x²/20 + y² after each step' ;; \
	    *) shows='the loss on training batches of MNIST, smoothed; the table ranks by validation loss' ;; \
	    esac; \
	    printf '\n%s:\n  %s\n' "$$shows" "$$figure"; \
	done
	@printf '\nAll of it in one page, to read and to send:\n  '
	@$(BIN)/optbench report --output results/report.html --force
	@printf '\nWhat to ask next: docs/recipes.md\n'

test: $(DEV) ## run the tests but the slow ones
	@echo 'Running about 10,000 tests on all cores; this takes 7 to 13 minutes on 2 cores'
	$(PYTEST)

test-slow: $(DEV) ## run the slow tests: statistics, kills, damage, malformed input, reports in Chromium
	$(PYTEST) -m slow

test-cupy: $(CUPY) ## test what is said where CuPy is installed and there is no GPU
	$(CUPY_VENV)/bin/python -m pytest --noconftest tests/test_no_gpu.py

test-parity: $(PARITY) ## compare with PyTorch, optax, SymPy, optuna, statistics packages; read trackers
	$(PARITY_VENV)/bin/pytest -n auto --dist worksteal $(COMPARED)
	$(PARITY_VENV)/bin/pytest -m slow tests/slow/test_studies.py -k tpe

docs: $(PARITY) ## rebuild docs/optimizers.md and docs/compatibility.md, which tests check; takes 5 minutes
	$(PARITY_VENV)/bin/python -m docs.tools.optimizers_page
	$(PARITY_VENV)/bin/python -m docs.tools.compatibility_page

docs-site: $(DOCS) ## build the documentation as a site, with an example report; takes 20 seconds
	rm -rf $(DOCS_BUILD)
	@echo 'Writing the report that the site has as an example'
	@$(DOCS_VENV)/bin/optbench run anisotropic --start-spread 0.05 --seeds 8 --out $(DOCS_BUILD) --quiet
	@$(DOCS_VENV)/bin/optbench report --out $(DOCS_BUILD) --output $(DOCS_BUILD)/report.html
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --quiet
	@echo 'The site begins at site/index.html; its search needs a server: python3 -m http.server -d site'

notebook: $(DEV) ## run docs/first-steps.ipynb again and keep what it shows
	$(BIN)/python -m docs.tools.notebook

bench: $(BENCH) ## time optbench beside NumPy, PyTorch and JAX, and on a cluster; about an hour on 2 slow cores
	$(BIN)/python -m benchmarks.speed

gpu: ## test and time optbench on this machine's GPU, within 8 minutes; installs nothing
	PYTHONPATH=. $(firstword $(PYTHON) $(wildcard $(CUPY_VENV)/bin/python) python3) -m benchmarks.gpu

check: $(DEV) ## check format, lint, types, imports and tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(PYTEST)

coverage: $(DEV) ## say which lines the tests do not reach; takes twice as long as test
	$(PYTEST) --cov --cov-report=term-missing:skip-covered

gate: $(PACKAGE) ## fail where an optimizer got worse than results/baselines/ci; about 10 seconds
	$(BIN)/optbench check ci --format $(if $(GITHUB_ACTIONS),github,text)

format: $(DEV) ## mend format and lint where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

ci: ## run what continuous integration runs; what it needs is installed at once
	@$(MAKE) --no-print-directory -j4 $(DEV) $(CUPY) $(PARITY) $(DOCS)
	@$(MAKE) --no-print-directory check gate test-slow test-cupy test-parity docs-site

clean: ## remove all .venv*, caches and build outputs; results/ stays
	rm -rf $(VENV) $(CUPY_VENV) $(PARITY_VENV) $(DOCS_VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov build dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip is the last thing that venv installs: without it the environment is half made.
$(BIN)/pip:
	@enough=; \
	for python in $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11); do \
	    "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    enough="$$python"; \
	    "$$python" -c 'import ensurepip, venv' 2>/dev/null || continue; \
	    echo "Making $(VENV) with $$("$$python" --version)"; \
	    exec "$$python" -m venv $(VENV); \
	done; \
	if [ -n "$$enough" ]; then \
	    echo "make: $$enough lacks venv or ensurepip; install its venv package (on Debian: apt install python3-venv), or name another Python: PYTHON=/path/to/python"; \
	else \
	    echo "make: $(or $(PYTHON),python3) is not Python 3.11 or newer$(if $(PYTHON),,, nor is there a python3.11 to python3.14); install one, or name it: PYTHON=/path/to/python"; \
	fi >&2; \
	exit 1

# Editable, so that a change of the sources needs no new installation; pip stands after the bar
# because the tests' installation may upgrade it.
$(PACKAGE): pyproject.toml | $(BIN)/pip
	@echo 'Installing optbench and what it needs; this downloads about 110 MB'
	@$(PIP_INSTALL) --editable .
	@$(BIN)/python -m compileall -q optbench
	@touch $@

# pip reads dependency groups from 25.1 on, and Python 3.11 brings an older one.
$(DEV): $(PACKAGE)
	@echo 'Installing the tools for tests and checks'
	@$(PIP_INSTALL) 'pip>=25.1'
	@$(PIP_INSTALL) --group dev
	@touch $@

# PyTorch comes first, so that its version is this one whatever else asks for it.
$(BENCH): $(PACKAGE)
	@echo 'Installing PyTorch and JAX to compare with'
	@$(PIP_INSTALL) torch==2.13.0
	@$(PIP_INSTALL) --editable '.[bench]'
	@touch $@

# A user's installation with the extra, and pytest.
$(CUPY): pyproject.toml | $(BIN)/pip
	@echo 'Installing optbench and CuPy in $(CUPY_VENV)'
	@$(BIN)/python -m venv $(CUPY_VENV)
	@$(CUPY_VENV)/bin/python -m pip install --quiet --editable '.[gpu-cuda13]' pytest
	@touch $@

# PyTorch comes first, so that its version is this one whatever else asks for it.
$(PARITY): pyproject.toml | $(BIN)/pip
	@echo 'Installing optbench, PyTorch, optax, optuna, trackers and packages of statistics in $(PARITY_VENV)'
	@$(BIN)/python -m venv $(PARITY_VENV)
	@$(PARITY_VENV)/bin/python -m pip install --quiet 'pip>=25.1'
	@$(PARITY_VENV)/bin/python -m pip install --quiet torch==2.13.0
	@$(PARITY_VENV)/bin/python -m pip install --quiet --editable '.[parity,tensorboard,wandb,mlflow]' --group dev --group oracles
	@touch $@

# pip reads dependency groups from 25.1 on.
$(DOCS): pyproject.toml | $(BIN)/pip
	@echo 'Installing optbench and MkDocs in $(DOCS_VENV)'
	@$(BIN)/python -m venv $(DOCS_VENV)
	@$(DOCS_VENV)/bin/python -m pip install --quiet 'pip>=25.1'
	@$(DOCS_VENV)/bin/python -m pip install --quiet --editable . --group docs-site
	@touch $@
