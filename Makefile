# Needs Debian or Ubuntu, Python 3.11 or newer and make; everything else is installed into this checkout (.venv). See `make help`.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
STAMP := .venv/.installed
export PYTHON
.PHONY: help setup demo test page page-api page-check unit sim check format bench wheel lock audit screenshots clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## Install everything into .venv (every other target does it by itself)

$(STAMP): requirements/dev.txt requirements/uv.txt pyproject.toml scripts/bootstrap.sh
	@sh scripts/bootstrap.sh
	@touch $@

demo: page ## Run server, page, data plane and four sample agents under live traffic (ARGS=--quick for short stages)
	@$(BIN)/servicing demo $(ARGS)

test: page ## Run the whole test suite, in a browser too (ARGS goes to pytest; JOBS processes, 0 for none)
	@sh scripts/browser.sh
	@$(BIN)/python -m pytest -n $(or $(JOBS),3) --dist loadfile $(ARGS)

page: $(STAMP) ## Build the web page into the package
	@sh scripts/page.sh

page-api: page ## Generate the page's client anew from the API
	@$(BIN)/python scripts/openapi.py
	@SERVICING_UI_DEV=1 $(BIN)/python hatch_build.py generate

page-check: page ## Lint, types, unit tests and drift of the web page
	@sh scripts/page.sh check

unit: $(STAMP) ## Run the fast tests only
	@$(BIN)/python -m pytest tests/unit $(ARGS)

sim: $(STAMP) ## Search simulated stories for a broken law (N=100000), or play one again (SEED=4711, STRATEGY=rolling)
	@$(BIN)/python -m agent_servicing.testing.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(N),1000)) $(if $(STRATEGY),--strategy $(STRATEGY)) $(ARGS)

check: $(STAMP) ## Lint, formatting, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: $(STAMP) ## Format the code and mend what the linter can mend
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(STAMP) ## Run the benchmarks behind BENCHMARKS.md
	@for file in benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python "$$file" $(ARGS) || exit 1; done

wheel: page ## Build the wheel, install it into an environment of its own and try it there
	@sh scripts/try_wheel.sh

lock: $(STAMP) ## Resolve pyproject.toml again into requirements/*.txt (hashes for every platform)
	@sh scripts/lock.sh

audit: $(STAMP) ## Look for known weaknesses of the locked dependencies (asks a public database, so it needs the network)
	@$(BIN)/uv tool run pip-audit --strict --disable-pip --require-hashes --requirement requirements/base.txt $(ARGS)

screenshots: page ## Take the pictures in docs/images/ anew, from a demo of its own
	@sh scripts/browser.sh
	@$(BIN)/python -m scripts.screenshots

clean: ## Delete everything that make produced, the environment included; data directories stay
	rm -rf .venv .venv-uv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage .coverage.* htmlcov
