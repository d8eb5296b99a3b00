# Everything a person or a machine runs here. `make` alone lists it.
#
# Needs python3 (3.11 or newer) and make; the rest goes into .venv. A second run finds it there.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# The peers of the benchmarks live apart: they are never dependencies.
PEERS  := $(VENV)-bench/.ready
# Workers for the tests, one more than two cores have, since they often wait: set JOBS=8 on a larger machine.
JOBS   ?= 3
# More words for pytest: make unit ARGS="-k rename -x"
ARGS   ?=
# How long `make fuzz` works on each.
SECONDS ?= 600
# What `make demo` stores; empty means the Python installation's own library folder.
DIR    ?=
# Suites that need no server of any kind.
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help setup servers emulators demo test test-servers test-account unit test-long fuzz lint format types contracts docs-check site screenshots face bench bench-s3 bench-azure bench-gcs bench-webdav bench-layers bench-sync bench-plans bench-fsspec bench-aio bench-emulators bench-serve plan-billion build clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z0-9%-]+:.*## /{sub(/%/,"NAME",$$1); printf "  make %-12s %s\n", $$1, $$2}' Makefile

# ---- the environment -----------------------------------------------------------------------------------------------

setup: $(READY) ## make .venv with everything that development needs

$(READY): pyproject.toml
	@command -v $(PYTHON) >/dev/null 2>&1 || { echo "$(PYTHON) is not installed" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed and $(PYTHON) is `$(PYTHON) -V 2>&1`: try  make PYTHON=python3.12" >&2; exit 1; }
	@scripts/debian-packages.sh "everything (a virtual environment cannot be made)" \
	    "$(PYTHON) -c 'import ensurepip, venv'" python3-venv
	@echo "setting up $(VENV)"
	@# Anew where a first try stopped half-way.
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@# --group came with pip 25.1; what a new environment brings may be older.
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $@

servers: $(READY) ## install the servers that tests talk to
	@# One that cannot be had is told in a line, and its tests are skipped; where CI is set that is a failure.
	@echo "== servers"
	@$(BIN)/python scripts/emulators.py install
	@# Where CI is set the tests themselves fail without these three.
	@scripts/debian-packages.sh "what age itself reads and writes" "command -v age" age || true
	@$(BIN)/python scripts/age_vectors.py || true
	@scripts/debian-packages.sh "the web console in a browser" "test -x /usr/bin/chromium" chromium || true

emulators: servers ## start every server, print addresses and keys, and run until Ctrl-C
	@$(BIN)/python scripts/emulators.py run $(ARGS)

# ---- see it work ---------------------------------------------------------------------------------------------------

demo: $(READY) ## store a real folder, list it, verify it, restore it, compare (DIR=/some/folder)
	@$(BIN)/python scripts/demo.py $(if $(DIR),'$(DIR)')

# ---- tests ---------------------------------------------------------------------------------------------------------

test: lint types contracts docs-check servers ## everything that gates a change
	@$(PYTEST) -n $(JOBS) -m "not long" $(ARGS)

test-servers: servers ## the tests that talk to real servers
	@$(PYTEST) -n $(JOBS) -m "server and not long" $(ARGS)

matrix: servers ## the suite on every server: write what each one did into TESTING.md
	@$(BIN)/python scripts/matrix.py --jobs $(JOBS)

unit: $(READY) ## the tests that need no server
	@$(PYTEST) -n $(JOBS) -m "not long and not server" $(ARGS)

test-account: $(READY) ## the conformance suite on real accounts: MGS_TEST_S3_URL, _AZURE_URL, _GCS_URL, _WEBDAV_URL
	@test -n "$$MGS_TEST_S3_URL$$MGS_TEST_AZURE_URL$$MGS_TEST_GCS_URL$$MGS_TEST_WEBDAV_URL" || { \
	    echo "say where: MGS_TEST_S3_URL=s3://bucket/folder make test-account (or _AZURE_URL, _GCS_URL, _WEBDAV_URL)" >&2; exit 2; }
	@$(PYTEST) -n $(JOBS) tests/accounts $(ARGS)

test-long: servers ## the tests that take minutes, and property tests with new random examples
	@HYPOTHESIS_PROFILE=nightly $(PYTEST) -n $(JOBS) --timeout 1800 -m "long or hypothesis" $(ARGS)

fuzz: $(READY) ## hostile objects for the parsers of encrypt and compress: ten minutes for each (SECONDS=60)
	@# Apart from .venv, and not for the tests: it is large, and not there for every Python.
	@test -d .cache/atheris || $(BIN)/python -m pip install --quiet --disable-pip-version-check --target .cache/atheris 'atheris>=3'
	@for target in age compress; do PYTHONPATH=.cache/atheris $(BIN)/python scripts/fuzz.py $$target $(SECONDS) || exit 1; done

test-s3 test-moto test-seaweedfs test-rclone test-localstack test-minio: servers

test-%: $(READY) ## the tests of one backend or server: test-memory, test-local, test-s3, test-seaweedfs
	@$(PYTEST) -n $(JOBS) -m "not long" -k "$*" $(ARGS)

# ---- checks --------------------------------------------------------------------------------------------------------

lint: $(READY) ## ruff: rules and formatting
	@echo "== lint"
	@$(BIN)/ruff check --quiet --output-format concise .
	@$(BIN)/ruff format --check --quiet . || { echo "not formatted: run  make format" >&2; exit 1; }

format: $(READY) ## put the code into its form
	@$(BIN)/ruff check --quiet --fix-only .
	@$(BIN)/ruff format .

types: $(READY) ## mypy, strict
	@echo "== types"
	@$(BIN)/mypy

contracts: $(READY) ## who may import whom
	@echo "== contracts"
	@$(BIN)/lint-imports --no-logo --no-cache

docs-check: $(READY) ## every public name has a docstring
	@echo "== docstrings"
	@$(BIN)/interrogate src || $(BIN)/interrogate -vv src

site: $(READY) ## build the documentation as a site, into .cache/site/html
	@$(BIN)/python scripts/site.py

screenshots: $(READY) ## take the pictures of the web console anew, into docs/images
	@scripts/debian-packages.sh "the web console in a browser" "test -x /usr/bin/chromium && fc-list | grep -q Inter" chromium fonts-inter
	@SCREENSHOTS=1 $(PYTEST) -q tests/serve/browser

face: $(READY) ## write down the public signatures and commands after a deliberate change
	@$(BIN)/python scripts/public_face.py > tests/house/public_face.txt
	@$(BIN)/python scripts/cli_reference.py
	@$(BIN)/python scripts/layer_orders.py

# ---- the rest ------------------------------------------------------------------------------------------------------

bench: $(PEERS) ## measure the local backend beside its peers, and write benchmarks/README.md
	@$(VENV)-bench/bin/python benchmarks/run.py local --write

bench-s3: $(PEERS) ## measure S3 beside its peers against a local nginx, and write benchmarks/README.md
	@scripts/debian-packages.sh "the S3 benchmark" \
	    "command -v nginx openssl && test -e /usr/lib/nginx/modules/ngx_http_lua_module.so" \
	    nginx-light libnginx-mod-http-lua openssl
	@$(VENV)-bench/bin/python benchmarks/run.py s3 --write

bench-azure: $(PEERS) servers ## measure Azure beside its peers on Azurite, and write benchmarks/README.md
	@$(VENV)-bench/bin/python benchmarks/run.py azure --rounds 3 --write

bench-gcs: $(PEERS) servers ## measure Google Cloud Storage beside its peers on fake-gcs-server, and write benchmarks/README.md
	@$(VENV)-bench/bin/python benchmarks/run.py gcs --rounds 3 --write

bench-webdav: $(PEERS) servers ## measure WebDAV beside webdav4 on rclone's server, and write benchmarks/README.md
	@$(VENV)-bench/bin/python benchmarks/run.py webdav --rounds 3 --write

bench-layers: $(PEERS) ## measure what each layer costs, and those that do the same, and write benchmarks/README.md
	@scripts/debian-packages.sh "the benchmark of the layers" \
	    "command -v nginx openssl age && test -e /usr/lib/nginx/modules/ngx_http_lua_module.so" \
	    nginx-light libnginx-mod-http-lua openssl age
	@$(VENV)-bench/bin/python benchmarks/run.py layers --rounds 3 --write

bench-sync: $(PEERS) ## measure syncs of whole folders beside s5cmd and rclone, and write benchmarks/README.md
	@scripts/debian-packages.sh "the benchmark of syncs" \
	    "command -v nginx && test -e /usr/lib/nginx/modules/ngx_http_lua_module.so" nginx-light libnginx-mod-http-lua
	@$(VENV)-bench/bin/python benchmarks/run.py sync --rounds 3 --write

bench-plans: $(PEERS) ## measure what sync and gc take to plan up to 1,000,000 names, and write benchmarks/README.md
	@$(VENV)-bench/bin/python benchmarks/run.py plans --rounds 3 --write

bench-fsspec: $(PEERS) ## measure reads through fsspec beside s3fs against a local nginx, and write benchmarks/README.md
	@scripts/debian-packages.sh "the benchmark of fsspec" \
	    "command -v nginx openssl && test -e /usr/lib/nginx/modules/ngx_http_lua_module.so" \
	    nginx-light libnginx-mod-http-lua openssl
	@$(VENV)-bench/bin/python benchmarks/run.py fsspec --rounds 3 --write

bench-aio: $(PEERS) ## measure AsyncStorage beside obstore's asyncio against a local nginx, and write benchmarks/README.md
	@scripts/debian-packages.sh "the benchmark of AsyncStorage" \
	    "command -v nginx openssl && test -e /usr/lib/nginx/modules/ngx_http_lua_module.so" \
	    nginx-light libnginx-mod-http-lua openssl
	@$(VENV)-bench/bin/python benchmarks/run.py aio --write

bench-serve: $(PEERS) ## measure the gateway beside nginx and rclone serve http, and write benchmarks/README.md
	@scripts/debian-packages.sh "the benchmark of the gateway" "command -v nginx wrk" nginx-light wrk
	@$(VENV)-bench/bin/python benchmarks/run.py serve --rounds 3 --write

bench-emulators: servers ## MB/s up and down through each server of the tests, into benchmarks/README.md
	@$(BIN)/python benchmarks/servers.py --write

plan-billion: $(READY) ## requests, cost and time of 10^9 objects by many workers, into docs/guides/beyond-one-machine.md
	@$(BIN)/python benchmarks/billion.py --write

$(PEERS): benchmarks/requirements.txt pyproject.toml
	@echo "setting up $(VENV)-bench"
	@test -x $(VENV)-bench/bin/python || $(PYTHON) -m venv $(VENV)-bench
	@$(VENV)-bench/bin/python -m pip install --quiet --disable-pip-version-check --editable . -r benchmarks/requirements.txt
	@touch $@

build: $(READY) ## a wheel and a source archive in dist/
	@$(BIN)/python -m hatchling build

clean: ## remove what was made here, .venv too
	@rm -rf $(VENV) $(VENV)-bench .cache dist build htmlcov .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
