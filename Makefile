# One door for users and contributors: `make demo`, `make test`, and `make` for everything that is checked.
# Each makes its own .venv: from requirements.lock what the program needs, from requirements-dev.lock what checks it too.
# pip and uv verify every hash.

PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
	if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$python; break; fi; done)
UV ?= $(shell command -v uv 2>/dev/null)
PYTEST_FLAGS ?= -n auto --maxprocesses=4
DEMO_FLAGS ?=
MUTMUT ?= mutmut
MUTMUT_CHILDREN ?= 2

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
READY_TO_CHECK := $(VENV)/.ready-to-check

.PHONY: all demo test test-slow format lint types docs bench mutation lock release clean venv
.DEFAULT_GOAL := all

all: lint types test ## everything that is checked

demo: $(READY) ## no account needed: a month of a made-up fleet, from polling to invoices
	@$(BIN)/metering demo $(DEMO_FLAGS)

test: $(READY_TO_CHECK) ## the whole suite but what is marked slow
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_FLAGS)

test-slow: $(READY_TO_CHECK) ## crash loops, soak, large fleets, and twenty times the examples of the laws
	$(BIN)/python -m pytest -m slow
	METERING_EXAMPLES_TIMES=20 $(BIN)/python -m pytest tests/laws tests/analysis/test_one_september.py

format: $(READY_TO_CHECK) ## rewrites what `lint` would complain about
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(READY_TO_CHECK) ## format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY_TO_CHECK)
	$(BIN)/mypy

docs: $(READY_TO_CHECK) ## the manual as a site, in site/; a link that leads nowhere fails
	$(BIN)/mkdocs build --strict --quiet

bench: $(READY_TO_CHECK) ## prints ratios against a baseline of the same run
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

# mutmut brings a terminal's libraries with it, so it is in no lock file; what it did is kept in mutants/.
mutation: ## the program changed in 3,300 places: which changes no test notices; MUTMUT=…/mutmut, see CONTRIBUTING.md
	nice "$(MUTMUT)" run --max-children $(MUTMUT_CHILDREN)
	$(PYTHON) -m tests.mutation

venv: $(READY_TO_CHECK)

# Made by hand and committed: the versions and hashes of every dependency, for every platform.
LOCK_FLAGS := --universal --python-version 3.11 --extra einvoice --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --custom-compile-command "make lock" --quiet
lock:
	@[ -n "$(UV)" ] || { echo "make lock needs uv" >&2; exit 1; }
	"$(UV)" pip compile pyproject.toml --group dev --upgrade $(LOCK_FLAGS) --output-file requirements-dev.lock
	"$(UV)" pip compile pyproject.toml --group build --constraint requirements-dev.lock --upgrade $(LOCK_FLAGS) \
		--output-file requirements.lock

# The time of every file in the wheel is that of the commit, so the same commit gives the same bytes.
release: $(READY) ## dist/: the wheel, the lock file with all hashes, what is in them (SBOM, CycloneDX), and SHA256SUMS
	rm -rf dist
	SOURCE_DATE_EPOCH="$$(git log -1 --format=%ct 2>/dev/null || echo 315532800)" \
		$(BIN)/python -m hatchling build --target wheel --directory dist
	cp requirements.lock dist/
	$(BIN)/python deploy/sbom.py > dist/metering.cdx.json
	cd dist && sha256sum * > SHA256SUMS

clean: ## everything that make can make again; never var/
	rm -rf $(VENV) build dist site mutants *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find metering tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

ifneq ($(UV),)
INSTALL := "$(UV)" pip install --quiet --python $(BIN)/python
else
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

$(READY): requirements.lock pyproject.toml
ifneq ($(UV),)
	@[ -x $(BIN)/python ] || "$(UV)" venv --quiet --python "$(or $(PYTHON),>=3.11)" $(VENV)
else
	@[ -n "$(PYTHON)" ] || { echo "metering needs Python 3.11 or newer; name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV) || { \
		echo "$(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; rm -rf $(VENV); exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
endif
	@$(INSTALL) --require-hashes -r requirements.lock
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(READY_TO_CHECK): $(READY) requirements-dev.lock
	@$(INSTALL) --require-hashes -r requirements-dev.lock
	@touch $@
