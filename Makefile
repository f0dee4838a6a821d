# Storefleet. `make up` and `make test` are enough to start; `make help` lists the rest.

SHELL := /bin/sh
# The system's interpreter comes first: distributions build theirs with profile-guided optimisation.
PYTHON ?= $(shell for python in /usr/bin/python3.11 python3.11 /usr/bin/python3 python3; do \
	$$python -c 'import ensurepip, venv' 2>/dev/null && { command -v $$python; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
ASSETS := services/gateway/dashboard/static/dist/manifest.json
PHP := $(shell command -v php)
CHROMIUM := $(shell command -v chromium || command -v chromium-browser)
NODE := $(shell command -v node)
UMASK := umask 022 &&
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
# uv installs the packages several times faster than pip. It does not read pip's configuration, so
# pip tries again where uv fails, for example because only pip's package index is reachable.
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python
INSTALL = install() { $(UV) "$$@" 2>$(VENV)/uv.log || $(PIP) "$$@" || { cat $(VENV)/uv.log >&2; return 1; }; }; install

.PHONY: help up down test check bench clean assets chromium php lock dist local-up build deploy seed deployment woocommerce-dirs test-cluster test-woocommerce bench-cluster

help:
	@echo "make up      run the platform on this machine, in the foreground"
	@echo "make down    stop it from another terminal"
	@echo "make test    run all tests, on real servers and in a real browser"
	@echo "make check   check format, lint, types and import contracts"
	@echo "make bench   run the benchmarks; write Markdown tables and JSON"
	@echo "make local-up build deploy   create a Kubernetes cluster on this machine, build the images, deploy:"
	@echo "             kind where Docker is usable, else the bare cluster (as root); CLUSTER=kind or bare decides"
	@echo "make dist    build a wheel into dist/, to install the platform without the checkout"
	@echo "make seed    create a demo store of every engine"
	@echo "make test-cluster, make bench-cluster   run tests and benchmarks on that cluster"
	@echo "WOOCOMMERCE_DIRS=… make test-woocommerce   run the tests of WooCommerce there, with your copy of the plugin"
	@echo "make clean   stop, then remove everything that was built or stored here (stores and cluster too)"

# Packages and assets are installed in parallel. Byte code is not compiled in advance: the first
# start compiles what it imports, which takes less time.
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

# A wheel that runs without the checkout: pip install dist/*.whl && storefleet up
dist: $(VENV)/runtime.stamp assets
	@$(UMASK) $(BIN)/python -m hatchling build --target wheel --directory dist

# A cluster on this machine: kind where Docker is usable, else the bare cluster, whose programs are
# built once into a cache outside of this folder. CLUSTER=kind or CLUSTER=bare decides, unless a
# cluster exists already.
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

# One deployment serves all targets of an invocation: make test-cluster test-woocommerce
deployment:
	@$(MAKE) --no-print-directory local-up build deploy

test-cluster: $(VENV)/dev.stamp deployment
	STOREFLEET_TEST_KUBECONFIG="$(CURDIR)/$(STATE)/kubeconfig" PATH="$(CURDIR)/$(STATE)/bin:$$PATH" $(BIN)/pytest --numprocesses=0 tests/cluster

woocommerce-dirs:
	@[ -n "$$WOOCOMMERCE_DIRS" ] || { echo "These tests need the WooCommerce plugin, which is in no package registry. Run: WOOCOMMERCE_DIRS=/path/to/woocommerce make test-woocommerce" >&2; exit 1; }

test-woocommerce: woocommerce-dirs $(VENV)/dev.stamp deployment
	STOREFLEET_TEST_KUBECONFIG="$(CURDIR)/$(STATE)/kubeconfig" PATH="$(CURDIR)/$(STATE)/bin:$$PATH" $(BIN)/pytest --numprocesses=0 tests/cluster_woocommerce

bench-cluster: $(VENV)/dev.stamp
	$(BIN)/python -m tests.bench cluster engines scale

clean: down
	@[ ! -e $(STATE) ] || case $$(tools/which-cluster $(CLUSTER)) in \
	kind) scripts/setup-kind.sh delete ;; \
	bare) tools/bare-cluster reset ;; \
	*) exit 1 ;; esac
	rm -rf build dist .storefleet .storefleet-bench $(VENV) node_modules services/gateway/dashboard/static/dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	@[ -n "$(PYTHON)" ] || { echo "No Python with the venv module was found. Install python3 and python3-venv, or set PYTHON=…." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than Python 3.11. Set PYTHON=… to a newer one." >&2; exit 1; }
	@echo "Creating $(VENV) …"
	@$(UMASK) $(PYTHON) -m venv $(VENV)

$(VENV)/uv.stamp: requirements/uv.txt | $(VENV)/pyvenv.cfg
	@$(UMASK) $(PIP) --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/runtime.stamp: requirements/runtime.txt pyproject.toml $(VENV)/uv.stamp
	@echo "Installing Python packages …"
	@$(UMASK) $(INSTALL) --require-hashes -r requirements/runtime.txt
	@$(UMASK) $(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.stamp: requirements/dev.txt $(VENV)/runtime.stamp
	@echo "Installing the packages of the tests …"
	@$(UMASK) $(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

# The dashboard's stylesheet, scripts and icons. Node comes from a wheel where the machine has none.
ifeq ($(NODE),)
assets: $(VENV)/node.stamp
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/build_assets.py

$(VENV)/node.stamp: requirements/node.txt | $(VENV)/uv.stamp
	@echo "Installing Node …"
	@$(UMASK) $(INSTALL) --require-hashes -r requirements/node.txt
	@touch $@
else
assets:
	@$(PYTHON) tools/build_assets.py
endif

php:
ifeq ($(PHP),)
	@[ "$$(id -u)" = 0 ] || { echo "The tests of the WooCommerce store's programs need PHP 8.2 or newer. Run as root: apt-get install php-cli" >&2; exit 1; }
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends php-cli
endif

chromium:
ifeq ($(CHROMIUM),)
	@[ "$$(id -u)" = 0 ] || { echo "The browser tests need Chromium. Run as root: apt-get install chromium" >&2; exit 1; }
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium
endif

# Updates the locks after an edit of pyproject.toml or of a .in file.
LOCK := $(CURDIR)/$(BIN)/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 --universal
lock: $(VENV)/uv.stamp
	$(LOCK) pyproject.toml requirements/build.in -o requirements/runtime.txt
	cd requirements && for set in uv dev image node traefik; do $(LOCK) $$set.in -o $$set.txt || exit 1; done
	cd stores/oscar && for set in requirements requirements-build; do $(LOCK) $$set.in -o $$set.txt || exit 1; done
