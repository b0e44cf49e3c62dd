# `make demo` and `make test` set up what they need; nothing else is to be done first.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RELEASE := .venv-release
SITE := build/site
# what `make test` runs, with --quick; `.ci/run` and `make test-all` run all of every folder
QUICK := tests/unit tests/adapters tests/cli tests/data tests/documents
# what touches a library, or what its version of Python does
DEBIAN := tests/unit tests/adapters tests/cli tests/discovery
MEASURED := $(DEBIAN) tests/data tests/workflows
# the longest files first
OTHER := tests/documents tests/faults tests/packaging tests/recordings tests/fuzz
TESTS ?=
SECONDS ?= 60
KEEP ?=
PROCESSORS := $(shell getconf _NPROCESSORS_ONLN)
# most tests wait for a server or a timer some of the time
WORKERS ?= $(shell expr 2 \* $(PROCESSORS))
# without a cache, each worker would compile every test again
unexport PYTHONDONTWRITEBYTECODE
PYTEST = $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

.PHONY: help demo test test-landing test-all test-debian fuzz check check-platforms bench scale translations docs docs-site lock audit dist deb clean

help:
	@echo "make demo          walk the main job against a sandbox server"
	@echo "make test          set up and run the tests that a change needs, in a minute; TESTS=tests/cli runs those"
	@echo "make test-landing  run every test, the storms at a twentieth, and measure what they cover"
	@echo "make test-all      run every test, the storms whole, and measure what they cover: before a release"
	@echo "make test-debian   run what touches a library with the modules of Debian 13 and nothing newer"
	@echo "make fuzz          fuzz the parsers for SECONDS=60; KEEP=1 adds what executes new code to the corpus"
	@echo "make check         lint, types, import contracts, docs, catalogue"
	@echo "make bench         measure start-up, discovery and sending against their floors and peers"
	@echo "make scale         simulate ten million mails a day, and draw the pictures of docs/scale.md"
	@echo "make translations  take new texts into the Swedish catalogue"
	@echo "make docs          write the generated parts of README and docs again"
	@echo "make docs-site     make a site of the documents, in build/site"
	@echo "make lock          resolve requirements.txt, the hashed dependencies of a release, again"
	@echo "make audit         ask an advisory service about these; STRICT=1 fails where none answers"
	@echo "make dist          make the files of a release from the last commit, in dist/"
	@echo "make deb           make the Debian packages from this tree, in dist/"

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("smtpsetup needs Python 3.11 or newer; try `make PYTHON=python3.11`" if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -m venv $(VENV) || { echo "Python lacks venv; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "Setting up $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[postgresql,relay,sandbox]'
	@touch $@

$(VENV)/ready-for-tests: $(VENV)/ready
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group test
	@touch $@

$(VENV)/ready-for-development: $(VENV)/ready-for-tests
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group dev
	@touch $@

# what makes and audits a release, apart from what the tests run with
$(RELEASE)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -m venv $(RELEASE)
	@$(RELEASE)/bin/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(RELEASE)/bin/python -m pip install --quiet --constraint constraints.txt --group release
	@touch $@

# only the fuzzer needs atheris, which has no wheels for some systems and versions of Python
$(VENV)/ready-for-fuzzing: $(VENV)/ready-for-development
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --only-binary atheris --group fuzz || { \
	  echo "make fuzz needs atheris, which has wheels for Linux and macOS and a few versions of Python only;"; \
	  echo "this is $$($(BIN)/python -VV). Everything else works without it; see docs/dependencies.md."; exit 1; }
	@touch $@

# what makes the site, which is slow to install and no test but those of the site needs
$(VENV)/ready-for-site: $(VENV)/ready-for-development
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	@touch $@

# what draws the pictures of bench/scale.py
$(VENV)/ready-for-pictures: $(VENV)/ready-for-development
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --group bench
	@touch $@

demo: $(VENV)/ready
	@$(BIN)/python tools/demo.py

test: $(VENV)/ready-for-tests
	$(PYTEST) --quick $(or $(TESTS),$(QUICK))

# coverage costs a third more; what the other folders cover, these cover too. Many of these tests wait for most of their time
test-landing: WORKERS := $(shell expr 3 \* $(PROCESSORS))
test-landing: $(VENV)/ready-for-site $(RELEASE)/ready
	$(PYTEST) --cov --cov-report= --junitxml build/measured.xml $(MEASURED)
	$(BIN)/python -m coverage report --skip-empty --fail-under 90
	$(PYTEST) --dist loadfile --no-loadscope-reorder --junitxml build/other.xml $(OTHER)

test-all: check-platforms $(VENV)/ready-for-site $(RELEASE)/ready
	STORM=1 $(PYTEST) --cov --cov-report= $(or $(TESTS),tests)
	$(BIN)/python -m coverage report --skip-empty

test-debian:
	@$(PYTHON) tools/debian_tests.py --numprocesses $(WORKERS) --dist worksteal --quick $(or $(TESTS),$(DEBIAN))

fuzz: $(VENV)/ready-for-fuzzing
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(if $(KEEP),--keep)

check: $(VENV)/ready-for-development
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/lint-imports
	$(BIN)/deptry src
	$(BIN)/codespell
	$(BIN)/python tools/catalogue.py check
	$(BIN)/python tools/documents.py check
	$(BIN)/python tools/pictures.py check
	$(BIN)/python tools/locked_requirements.py check
	$(BIN)/python tools/suite.py check

# nobody runs these; `make test-all` checks their types
check-platforms: $(VENV)/ready-for-development
	$(BIN)/mypy --platform win32 --no-warn-unreachable src
	$(BIN)/mypy --platform darwin --no-warn-unreachable src

bench: $(VENV)/ready-for-development
	$(BIN)/python bench/startup.py
	$(BIN)/python bench/table.py
	$(BIN)/python bench/discovery.py
	$(BIN)/python bench/sending.py
	$(BIN)/python bench/api.py
	$(BIN)/python bench/relay.py
	$(BIN)/python bench/null_clients.py
	$(BIN)/python bench/shared_outbox.py

scale: $(VENV)/ready-for-pictures
	$(BIN)/python bench/scale.py

translations: $(VENV)/ready-for-development
	$(BIN)/python tools/catalogue.py update

docs: $(VENV)/ready-for-development
	$(BIN)/python tools/documents.py update
	$(BIN)/python tools/pictures.py update

docs-site: $(VENV)/ready-for-site
	@rm -rf $(SITE) $(SITE).doctrees
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --nitpicky --fresh-env --jobs auto --conf-dir tools/site --doctree-dir $(SITE).doctrees docs $(SITE)
	@echo "The site is in $(SITE); open $(SITE)/index.html"

lock: $(RELEASE)/ready $(VENV)/ready
	$(RELEASE)/bin/python tools/locked_requirements.py update
	$(BIN)/python tools/locked_requirements.py check

audit: $(RELEASE)/ready
	$(RELEASE)/bin/python tools/audit.py $(if $(STRICT),--strict)

dist: $(RELEASE)/ready
	$(RELEASE)/bin/python tools/dist.py

deb:
	@$(PYTHON) tools/deb.py

clean:
	rm -rf $(VENV) $(RELEASE) .venv-debian .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.* dist build
