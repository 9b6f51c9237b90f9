# Everything a developer or CI types. `make` alone lists it.
#
# Installation goes into .venv, with plain python3 and pip, from files that name every package by hash. A stamp is
# written when a step has ended well, so that a second run is quick and an interrupted one is done again.

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -q install --no-deps
MADE := $(VENV)/.made
INSTALLED := $(VENV)/.installed
INSTALLED_DEV := $(VENV)/.installed-dev

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo run test lint bench chaos soak loadtest dashboards stack lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z][a-z ]*:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## see it work: no key, no network; prints what calls cost and how fast they answer
	@exec $(BIN)/submeter demo $(ARGS)

run: $(INSTALLED) ## submeter serve, with its defaults; more options in ARGS="--port 4200"
	@exec $(BIN)/submeter serve $(ARGS)

test: $(INSTALLED_DEV) ## set up all that the tests need and run them; a part of them with ARGS="tests/config -k yaml"
	@$(call DEBIAN,chromium,the tests of the page)
	@$(call DEBIAN,redis-server,the tests of the cache)
	@$(call DEBIAN,prometheus,the tests of metrics and alerts)
	@$(call DEBIAN,systemd,the tests of deploy/)
	@$(call DEBIAN,nginx,the tests of load tests)
	@$(BIN)/pytest $(ARGS)

lint: $(INSTALLED_DEV) ## ruff, mypy and the import rules; every warning is an error
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(INSTALLED_DEV) ## what metering costs: ratios measured in one run, never absolute times
	@$(BIN)/python bench/counting.py
	@$(BIN)/python bench/cache.py
	@$(BIN)/python bench/flight.py
	@$(BIN)/python bench/metrics.py
	@$(BIN)/python bench/loadtest.py
	@$(BIN)/python bench/reality.py
	@$(BIN)/python bench/report.py

dashboards: $(INSTALLED_DEV) ## write the Grafana boards and Prometheus rules anew, from their code
	@$(BIN)/submeter dashboards build --out dashboards

stack: $(INSTALLED_DEV) ## Redis, Postgres, Prometheus and Submeter with traffic, on loopback, until Ctrl-C
	@$(call DEBIAN,redis-server,the stack)
	@$(call DEBIAN,prometheus,the stack)
	@PYTHONPATH=tests exec $(BIN)/python -m harness.stack $(ARGS)

loadtest: $(INSTALLED_DEV) ## how latency depends on lengths: ARGS="article --target URL --model M --out DIR"
	@exec $(BIN)/submeter loadtest $(ARGS)

chaos soak:
	@$(error make $@ is not built yet. What is there: make help)

lock: ## resolve the dependencies anew and write the three lock files (needs uv; UPGRADE=--upgrade takes newer versions)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 2; }
	$(LOCK) --extra demo --group build pyproject.toml -o requirements.lock
	$(LOCK) --all-extras --group build --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	$(LOCK) --extra grafana --extra parquet --extra postgres -c requirements-dev.lock pyproject.toml -o deploy/requirements.lock

clean: ## remove .venv and everything else that the other targets have made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find proxy tests -name __pycache__ -type d -prune -exec rm -rf {} +

# --- installation -------------------------------------------------------------------------------------------------

# Empty, or why this Python will not do and what will. $(error) shows it as the last line and ends with exit code 2.
PYTHON_PROBLEM = $(shell command -v $(PYTHON) >/dev/null || { \
	echo "there is no $(PYTHON): install Python 3.11 or later or name one, as in: make PYTHON=python3.12 $(MAKECMDGOALS)"; \
	exit; }; $(PYTHON) -c '$(PYTHON_CHECK)' || echo "$(PYTHON) does not run: name another, as in: make PYTHON=python3.12")
PYTHON_CHECK = import sys, importlib.util as u; print( \
	"$(PYTHON) is Python %d.%d, and 3.11 or later is needed: name one, as in: make PYTHON=python3.12 $(MAKECMDGOALS)" \
	% sys.version_info[:2] if sys.version_info < (3, 11) else \
	"$(PYTHON) cannot make a virtual environment: install python3-venv, as in: apt-get install python3-venv" \
	if not (u.find_spec("venv") and u.find_spec("ensurepip")) else "")

$(MADE):
	@$(if $(strip $(PYTHON_PROBLEM)),$(error $(strip $(PYTHON_PROBLEM))))
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(INSTALLED): $(MADE) requirements.lock pyproject.toml
	@echo "installing into $(VENV); the first time takes a minute" >&2
	@$(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation -e .
	@touch $@

$(INSTALLED_DEV): $(MADE) requirements-dev.lock pyproject.toml
	@echo "installing into $(VENV), with what the tests need; the first time takes a minute or two" >&2
	@$(PIP) --require-hashes -r requirements-dev.lock
	@$(PIP) --no-build-isolation -e .
	@touch $@

LOCK = uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--override certifi.txt $(UPGRADE)

# The page is tested in a browser, the cache on a real Redis: $(call DEBIAN,package with a program of its name,what for).
# Without root they have to be there already; the tests say so where they skip.
DEBIAN = command -v $(1) >/dev/null || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null || { \
	echo "installing $(1) for $(2)" >&2; \
	{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $(1); } \
	>/dev/null 2>&1 || echo "$(1) could not be installed: apt-get install $(1) says why" >&2; }
