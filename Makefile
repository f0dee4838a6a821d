# Storefleet. `make up` and `make test` are all that a newcomer needs; `make help` lists the rest.

SHELL := /bin/sh
# The system's own interpreter comes first: distributions build theirs with profile-guided optimisation.
PYTHON ?= $(shell for python in /usr/bin/python3.11 python3.11 /usr/bin/python3 python3; do \
	$$python -c 'import ensurepip, venv' 2>/dev/null && { command -v $$python; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
ASSETS := services/gateway/dashboard/static/dist/manifest.json
PHP := $(shell command -v php)
CHROMIUM := $(shell command -v chromium || command -v chromium-browser)
NODE := $(shell command -v node)
UMASK := umask 022 &&

.PHONY: help up down test check bench clean assets chromium php lock local-up build deploy seed test-cluster test-woocommerce bench-cluster

help:
	@echo "make up      bring the platform up here, in the foreground"
	@echo "make down    stop it from another terminal"
	@echo "make test    every test, on real servers and a real browser"
	@echo "make check   format, lint, types, import contracts"
	@echo "make bench   measure, and write docs-ready tables and JSON"
	@echo "make local-up build deploy   a Kubernetes cluster on this machine, the images, the platform in it:"
	@echo "             kind where Docker can be used, else a node from source (as root); CLUSTER=kind or bare decides"
	@echo "make seed    a demo store of every engine"
	@echo "make test-cluster, make bench-cluster   tests and measurements there"
	@echo "WOOCOMMERCE_DIRS=… make test-woocommerce   tests of WooCommerce there, whose plugin has to be given"
	@echo "make clean   stop, then remove everything that was built or kept here (stores and cluster too)"

up: ; @$(MAKE) --silent --no-print-directory -j2 $(VENV)/runtime.stamp assets && exec $(BIN)/storefleet up

down:
	@if [ -x $(BIN)/storefleet ]; then $(BIN)/storefleet down; fi

test: $(VENV)/dev.stamp assets chromium php
	$(BIN)/pytest --numprocesses=2 --dist=loadgroup --ignore=tests/cluster --ignore=tests/cluster_woocommerce

check: $(VENV)/dev.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/dev.stamp assets
	$(BIN)/python -m tests.bench

# A cluster on this machine: kind where Docker can be used, else a node from source, whose programs are built once, into
# a cache outside. CLUSTER=kind or CLUSTER=bare decides; what is there already goes on.
CLUSTER ?=
STATE := .storefleet/cluster
IMAGES := build/images

local-up:
	@case $$(tools/which-cluster $(CLUSTER)) in \
	kind) scripts/setup-kind.sh $(CLUSTER_OPTIONS) cluster ;; \
	bare) tools/bare-cluster up $(CLUSTER_OPTIONS) ;; \
	*) exit 1 ;; esac

build: assets
	@case $$(tools/which-cluster $(CLUSTER)) in \
	kind) scripts/setup-kind.sh images ;; \
	bare) $(PYTHON) tools/build-images --output $(IMAGES) --helm $(STATE)/bin/helm && tools/bare-cluster load-image $(IMAGES)/*.oci.tar ;; \
	*) exit 1 ;; esac

deploy:
	@$(PYTHON) scripts/deploy

seed:
	@scripts/seed-stores.sh $(SEED_OPTIONS)

test-cluster: $(VENV)/dev.stamp
	@$(MAKE) --no-print-directory local-up build deploy
	STOREFLEET_TEST_KUBECONFIG="$(CURDIR)/$(STATE)/kubeconfig" PATH="$(CURDIR)/$(STATE)/bin:$$PATH" $(BIN)/pytest --numprocesses=0 tests/cluster

test-woocommerce: $(VENV)/dev.stamp
	@[ -n "$$WOOCOMMERCE_DIRS" ] || { echo "These tests need WooCommerce's plugin, which is in no package registry: WOOCOMMERCE_DIRS=/path/to/woocommerce make test-woocommerce" >&2; exit 1; }
	@$(MAKE) --no-print-directory local-up build deploy
	STOREFLEET_TEST_KUBECONFIG="$(CURDIR)/$(STATE)/kubeconfig" PATH="$(CURDIR)/$(STATE)/bin:$$PATH" $(BIN)/pytest --numprocesses=0 tests/cluster_woocommerce

bench-cluster: $(VENV)/dev.stamp
	$(BIN)/python -m tests.bench cluster engines scale

clean: down
	@[ ! -e $(STATE) ] || case $$(tools/which-cluster $(CLUSTER)) in \
	kind) scripts/setup-kind.sh delete ;; \
	bare) tools/bare-cluster reset ;; \
	*) exit 1 ;; esac
	rm -rf build .storefleet .storefleet-bench $(VENV) node_modules services/gateway/dashboard/static/dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@[ -n "$(PYTHON)" ] || { echo "No Python with its venv module: install python3 and python3-venv, or set PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=…" >&2; exit 1; }
	@echo "Making $(VENV) …"
	@$(UMASK) $(PYTHON) -m venv $(VENV)

$(VENV)/runtime.stamp: requirements/runtime.txt pyproject.toml | $(VENV)/pyvenv.cfg
	@echo "Installing Python packages …"
	@$(UMASK) $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	@$(UMASK) $(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(UMASK) $(BIN)/python -m compileall -q libs services
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/runtime.stamp
	@echo "Installing what the tests need …"
	@$(UMASK) $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

# The dashboard's stylesheet, script and icons; Node comes from a wheel where the machine has none.
ifeq ($(NODE),)
assets: $(VENV)/node.stamp
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/build_assets.py

$(VENV)/node.stamp: requirements/node.txt | $(VENV)/runtime.stamp
	@echo "Installing Node …"
	@$(UMASK) $(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/node.txt
	@touch $@
else
assets:
	@$(PYTHON) tools/build_assets.py
endif

php:
ifeq ($(PHP),)
	@[ "$$(id -u)" = 0 ] || { echo "The tests of the WooCommerce shop's programs need PHP 8.2 or newer: apt-get install php-cli (as root)." >&2; exit 1; }
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends php-cli
endif

chromium:
ifeq ($(CHROMIUM),)
	@[ "$$(id -u)" = 0 ] || { echo "The browser tests need Chromium: apt-get install chromium (as root)." >&2; exit 1; }
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium
endif

# Renews the locks after an edit of a .in file (needs uv).
LOCK := uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --universal
lock:
	cd requirements && for set in runtime dev image node; do $(LOCK) $$set.in -o $$set.txt || exit 1; done
	cd stores/oscar && for set in requirements requirements-build; do $(LOCK) $$set.in -o $$set.txt || exit 1; done
