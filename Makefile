# Everything here works in a fresh clone: the first target that needs it sets .venv up.
.DEFAULT_GOAL := help
.PHONY: help install demo test mutations chaos bench lint docs constraints clean

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

install: $(STAMP)  ## set up .venv with a Python 3.13 or newer

$(STAMP): pyproject.toml constraints.txt deployments/setup-venv
	@deployments/setup-venv $(VENV)
	@touch $(STAMP)

demo: $(STAMP)  ## run three tasks through a two-stage pipeline (KEEP=1: and keep it up)
	@$(PY) examples/demo/demo.py $(if $(KEEP),--keep)

test: $(STAMP)  ## run the tests, three files at a time (ARGS="-k board -x": what else pytest is told)
	@$(PY) -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

mutations: $(STAMP)  ## bring each mended fault back, and see the suite notice it (ARGS="D28": some)
	@$(PY) -m tests.mutations $(ARGS)

chaos: $(STAMP)  ## kill, freeze and break things while hundreds of tasks run (SEED=... ARGS=...)
	@$(PY) -m chaos $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: $(STAMP)  ## measure what everything costs (ARGS="--only idle": some of it)
	@$(PY) -m bench $(ARGS)

lint: $(STAMP)  ## linters, types, import rules, declared dependencies
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/lint-imports --no-logo
	@$(VENV)/bin/deptry --no-ansi athanore
	@$(VENV)/bin/pyright

docs: $(STAMP)  ## build the documentation site in site/; a warning is an error
	@$(PY) api/reference.py
	@$(VENV)/bin/zensical build --strict --clean

constraints: $(STAMP)  ## write down the versions that are installed
	@{ head -1 constraints.txt; $(PY) -m pip freeze --exclude-editable \
	  | tr 'A-Z_' 'a-z-' | LC_ALL=C sort; } > constraints.new
	@mv constraints.new constraints.txt

clean:  ## remove what the targets made
	rm -rf $(VENV) .demo dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache site .cache
