# What a fresh Debian or Ubuntu machine needs is `make`, root, and one of these targets: each installs
# what is missing, builds what is stale (ci/setup) and does its work.
#
#   PYTEST_ARGS   more for pytest:      make test PYTEST_ARGS='-k env00 --keep'
#   CRIU_PEER     a CRIU to compare with (the cross cases are skipped without)

PY := .venv/bin/python
JOBS ?= 2

.PHONY: help demo test build lint clean

help: ## Say what the targets do
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: build ## Dump a counting program, restore it, and print a timeline
	@$(PY) ci/demo.py

test: build ## Lint and the whole suite
	@$(PY) -m pytest zdtm -n $(JOBS) --expected-skips zdtm/expected-skips.txt $(PYTEST_ARGS)

lint: build ## Only ruff, mypy, clang-format and the import rules
	@$(PY) -m pytest -q zdtm/tests/test_lint.py $(PYTEST_ARGS)

build: ## Install what is missing, build what is stale
	@ci/setup

clean: ## Remove everything that was built, the virtual environment included
	@ci/setup clean
