# Seven words, the same for people and for CI:  install  run  demo  test  lint  bench  docs   (and: screens  torture  check-api  audit  lock  migration  deb  repo  test-deb)
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

# A person at a terminal sees what pip does meanwhile; a log does not need it.
QUIET := $(shell test -t 2 || echo --quiet)

# Most of a start is compiling where bytecode is not kept, and the tests start some hundreds of programs.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: install run demo test lint screens bench docs torture check-api audit lock packages migration deb repo test-deb

install: $(READY)

$(READY): pyproject.toml agent/__init__.py requirements/dev.lock hatch_build.py package-lock.json
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Nabz needs Python 3.11 or newer; $(PYTHON) is older. Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -q && apt-get install -yq python3-venv && $(PYTHON) -m venv .venv; \
	  else echo "Python's venv module is missing. Install it once (Debian: apt install python3-venv), then repeat."; exit 2; fi; }
	@echo "Nabz and all that its tests need go into .venv: a minute or two"
	@$(BIN)/python -m pip install $(QUIET) --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

run: install
	$(BIN)/nabz-collector pilot

demo: install
	$(BIN)/nabz-collector pilot --simulate 1000

# What the tests drive besides Python: a browser, brokers, SNMP agents, databases. Installed when we may; see tests/packages.txt.
packages:
	@tests/packages.sh

# Three workers a core, for many tests mostly wait: with two, a seventh of the time nobody computed.
WORKERS ?= $(shell echo $$(( 3 * $$(getconf _NPROCESSORS_ONLN) )))

# Counting lines costs a few percent where Python monitors itself (PEP 669, 3.12), and almost half where it does not: there
# it is on request (COVERAGE=1).
MONITORS := $(shell $(PYTHON) -c 'import sys; print(1 if sys.version_info >= (3, 12) else "")' 2>/dev/null)
COVERAGE ?= $(MONITORS)

# Tests at once stop each other for seconds. One of real time that failed so has a second trial by itself;
# the log shows both, and whoever needs it often is a fault to mend.
TESTS = $(if $(MONITORS),COVERAGE_CORE=sysmon )$(BIN)/python -m pytest -m "not slow" --durations 20 -rfE $(if $(COVERAGE),--cov --cov-report=)

# Each worker would compile all tests for itself: here each is compiled once, the largest room beside the others.
COMPILE = $(BIN)/python -m pytest --collect-only -qq -n 0

test: install packages
	@$(if $(ARGS),:,$(COMPILE) tests/collector >/dev/null & $(COMPILE) $(filter-out tests/collector/,$(wildcard tests/[a-z]*/)) >/dev/null; wait)
	$(TESTS) -n $(WORKERS) --dist loadfile $(ARGS) || { test $$? = 1 && echo "Once more, one at a time, what has failed:" && \
	  $(TESTS) $(if $(COVERAGE),--cov-append) -n 0 --last-failed --maxfail 1 $(ARGS); }
	@$(if $(COVERAGE),echo "$$($(BIN)/coverage report --format=total) % of the lines of agent and collector ran in the tests' own processes",:)
	@$(MAKE) --silent --no-print-directory audit

torture: install
	@tests/packages.sh debootstrap firefox-esr lintian systemd-container
	-$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r requirements/fuzz.lock
	$(BIN)/python -m pytest tests --torture -m "row or control or slow or root" -o faulthandler_timeout=0 $(ARGS)

# The API under requests that its own description makes, by schemathesis.
check-api: install
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/check.lock
	$(BIN)/python -m pytest tests/collector/web/test_api_contract.py --torture -n 0 -s $(ARGS)

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

screens: install
	@tests/packages.sh chromium
	$(BIN)/python -m docs.screens

bench: install
	@tests/packages.sh chromium
	$(BIN)/python -m bench $(ARGS)

docs: install
	$(BIN)/python docs/generate.py

# Known vulnerabilities of what is locked, by pip-audit where it is installed. Where it is not, or its database cannot be
# reached, it says that it was skipped: that is no failure, and no clean bill either.
audit: install
	@$(BIN)/python -m pip_audit --version >/dev/null 2>&1 || { echo "audit skipped: pip-audit is not installed"; exit 0; }; \
	for lock in requirements/*.lock; do \
	    told=$$($(BIN)/python -m pip_audit --disable-pip --no-deps --progress-spinner off --requirement $$lock 2>&1) \
	        && { echo "$$lock: nothing known"; continue; }; \
	    case "$$told" in \
	        *"known vulnerabilit"*) echo "$$lock:"; echo "$$told"; bad=1 ;; \
	        *) echo "$$lock: audit skipped: $$(echo "$$told" | tail -n 1 | cut -c 1-160)" ;; \
	    esac; \
	done; exit $${bad:-0}

# Debian packages for this machine's release and processor, into dist/; a signed apt repository of them; and their test in
# a fresh Debian tree, as root.
deb: install
	$(BIN)/python deb/build.py $(ARGS)

repo:
	deb/repo.sh dist repo $(KEY)

test-deb: install
	@tests/packages.sh debootstrap firefox-esr lintian systemd-container
	$(BIN)/python -m pytest tests/project/packages/test_deb.py --torture -n 0 -s -o faulthandler_timeout=0 $(ARGS)

# The next step of the database's tables, drafted from what the schema has gained: make migration WHY="seats have colours"
migration: install
	$(BIN)/python -m collector.store.draft $(WHY)
	$(BIN)/ruff format --quiet collector/store/migrations

lock:
	for role in agent updates seat collector archive oidc reports dev check fuzz; do \
	  $(BIN)/pip-compile --quiet --strip-extras --generate-hashes --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-annotate --no-header --allow-unsafe \
	    $$( [ $$role = updates ] && echo --extra agent; [ $$role = dev ] && echo --extra agent --extra seat --extra collector --extra archive --extra oidc --extra reports; [ $$role = reports ] && echo --constraint requirements/collector.lock; [ $$role = check ] && echo --constraint requirements/dev.lock ) --extra $$role -o requirements/$$role.lock pyproject.toml; done
