# `make run` and `make test` set up what they need. `make help` lists everything.
PYTHON ?= python3
export PYTHON
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help run test test-compat reliability soak bench lint format release-check clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

run: ## serve on http://127.0.0.1:8000 with an embedded Elasticsearch and sample indices
	@dev/setup.sh requirements.txt
	@$(BIN)/python -m dev.run

# Four at once on two processors: most of what takes long is waited for. Tests of units and stores first, whose coverage
# is measured (tests/conftest.py), then the others in the order of the folders: sorted by their number of tests, as
# pytest-xdist does it, the files that take longest would begin at the end.
test: ## run all tests, on an Elasticsearch of their own
	@dev/setup.sh requirements-dev.txt
	@$(BIN)/python -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder --cov --cov-report=term:skip-covered $(ARGS)
	@$(BIN)/python -m dev.coverage_floor

test-compat: ## test with other versions of Python, Django, Elasticsearch and its client, as far as they are installed
	@dev/setup.sh requirements-dev.txt
	@$(BIN)/python -m nox -- $(ARGS)

reliability: ## run the tests of all reliability cases, and write docs/reliability.md; ARGS=5 for case 5 alone
	@dev/setup.sh requirements-dev.txt
	@$(BIN)/python -m dev.reliability $(ARGS)

soak: ## a mixed load while faults come and go, for MINUTES=10; nothing wrong may be answered, nothing may grow
	@dev/setup.sh requirements-dev.txt
	@$(BIN)/python -m bench.soak --minutes $(or $(MINUTES),10) $(ARGS)

bench: ## measure everything in at most 15 minutes, and write docs/benchmarks.md; ARGS=--quick for a rough run
	@dev/setup.sh requirements-bench.txt
	@$(BIN)/python -m bench $(ARGS)

lint: ## check style, types and security
	@dev/setup.sh requirements-dev.txt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive esassistant cacheapp healthapp dev manage.py
	$(BIN)/python -m dev.audit_dependencies

format: ## format the code
	@dev/setup.sh requirements-dev.txt
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

release-check: ## whether this state can be released: version, changelog, and what is in the wheel
	@dev/setup.sh requirements-dev.txt
	@$(BIN)/python -m dev.release_check

clean: ## remove everything that the other targets made, the .env and the database included
	rm -rf .venv .cache .env esassistant.sqlite3* build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
