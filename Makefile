# Everything here works in a fresh clone: the first target that needs it sets .venv up.
.DEFAULT_GOAL := help
.PHONY: help install demo check lint-quick lint-rules test-quick test test-nightly test-oldest mutations chaos bench lint docs pictures release constraints clean

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
RUNS := $(VENV)/.runs
# The oldest Prefect that pyproject.toml allows has an environment of its own.
OLDEST := .venv-oldest
# So many files of tests at a time; those that need a server wait most of the time, so that four fit two cores.
PYTEST := -m pytest --dist loadfile --no-loadscope-reorder -n

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(STAMP)  ## set up .venv with a Python 3.13 or newer

$(STAMP): pyproject.toml constraints.txt deployments/setup-venv
	@deployments/setup-venv $(VENV)
	@touch $(STAMP) $(RUNS)

# The demo needs none of the developers' tools, which take most of the time.
$(RUNS): pyproject.toml constraints.txt deployments/setup-venv
	@if [ -e $(STAMP) ]; then deployments/setup-venv $(VENV) && touch $(STAMP); \
	  else deployments/setup-venv $(VENV) constraints.txt ""; fi
	@touch $(RUNS)

demo: $(RUNS)  ## run three tasks through a two-stage pipeline (KEEP=1: and keep it up)
	@$(VENV)/bin/athanore demo .demo $(if $(KEEP),--keep)

check: $(STAMP)  ## the linters, beside the fast tests that need no server
	@$(MAKE) --no-print-directory -j 2 --output-sync=target lint-quick test-quick

# The types of all files take as long as all of the rest; `make lint` and the gate look at them.
CHANGED = $(shell { git diff --name-only --diff-filter=d $$(git merge-base HEAD origin/main || echo HEAD) -- '*.py'; \
  git ls-files --others --exclude-standard -- '*.py'; } 2>/dev/null)

lint-quick: $(STAMP)
	@$(MAKE) --no-print-directory lint-rules
	@$(if $(CHANGED),$(VENV)/bin/pyright $(CHANGED),echo "No Python file has changed: their types are not looked at.")

# The tests' compiled modules are kept, whatever the environment says: the next look is sooner by half of its collection.
test-quick: export PYTHONDONTWRITEBYTECODE :=
test-quick: $(STAMP)
	@$(PY) $(PYTEST) 3 -m "not nightly and not slow" tests/unit tests/page tests/docs $(ARGS)

test: $(STAMP)  ## the tests that must pass before a merge (ARGS="-k board -x": what else pytest is told)
	@$(PY) $(PYTEST) 4 -m "not nightly" $(ARGS)

test-nightly: $(STAMP)  ## all other tests: PostgreSQL, browsers, real agents, generated input (ARGS=...)
	@$(PY) $(PYTEST) 4 -m nightly $(ARGS)

test-oldest: $(OLDEST)/.installed  ## the smoke set on the oldest Prefect that is supported (ARGS=...)
	@$(OLDEST)/bin/python $(PYTEST) 4 -m smoke -k "not postgresql and not claude_code_sdk" $(ARGS)

$(OLDEST)/.installed: pyproject.toml constraints.txt deployments/setup-venv
	@mkdir -p .cache
	@oldest=$$(sed -n 's/.*"prefect>=\([0-9.]*\),.*/\1/p' pyproject.toml); \
	  sed "s/^prefect==.*/prefect==$$oldest/" constraints.txt >.cache/constraints-oldest.txt
	@deployments/setup-venv $(OLDEST) .cache/constraints-oldest.txt
	@touch $@

mutations: $(STAMP)  ## bring each mended fault back, and see the suite notice it (ARGS="D28": some)
	@$(PY) -m tests.mutations $(ARGS)

chaos: $(STAMP)  ## kill, freeze and break things while hundreds of tasks run (SEED=... ARGS=...)
	@$(PY) -m chaos $(if $(SEED),--seed $(SEED)) $(ARGS)

bench: $(STAMP)  ## measure what everything costs (ARGS="--only idle": some of it)
	@$(PY) -m bench $(ARGS)

lint: lint-rules  ## linters, types, import rules, declared dependencies, dead code
	@$(VENV)/bin/pyright

lint-rules: $(STAMP)
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/lint-imports --no-logo
	@$(VENV)/bin/deptry --no-ansi athanore
	@$(VENV)/bin/vulture

docs: $(STAMP)  ## build the documentation site in site/; a warning is an error
	@$(PY) api/reference.py
	@$(VENV)/bin/zensical build --strict --clean

pictures: $(STAMP)  ## make the pictures of README and docs anew: the demo, filmed (needs Chromium)
	@$(PY) deployments/pictures.py

release: $(STAMP)  ## build wheel and sdist, try them in an empty environment, date the changelog (ARGS=--check)
	@$(PY) deployments/release.py $(ARGS)

constraints: $(STAMP)  ## write down the versions that are installed
	@{ head -1 constraints.txt; $(PY) -m pip freeze --exclude-editable \
	  | tr 'A-Z_' 'a-z-' | LC_ALL=C sort; } > constraints.new
	@mv constraints.new constraints.txt

clean:  ## remove what the targets made
	rm -rf $(VENV) $(OLDEST) .demo dist build .pytest_cache .ruff_cache .hypothesis .import_linter_cache site .cache
