# Every verb makes .venv first, if need be. PYTHON=python3.12 chooses the interpreter; ARGS="…" is passed on by `run`, `cluster`, `test` and `bench`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SOURCES := push_core sdk_proto push_gateway push_api dispatcher ops bench tests
ARGS ?=
# Tests wait for processes more than they compute; two workers keep two cores busy.
WORKERS ?= 2

help: ## list the verbs
	@awk -F':.*## ' '/^[a-z]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.installed ## start Taco here: API on 8080, gateway on 8081 (ARGS="--data DIR --api-port 0 …")
	@exec $(BIN)/taco up $(ARGS)

cluster: $(VENV)/.installed ## start Redis, MariaDB, RabbitMQ and the programs as processes of their own (ARGS="--gateways 3 …")
	@exec $(BIN)/taco cluster $(ARGS)

install: $(VENV)/.installed ## make .venv with everything that Taco needs, and stop there

test: $(VENV)/.developed ## the whole test suite (ARGS="-k name" for a part)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

conformance: $(VENV)/.developed ## Autobahn's WebSocket cases against the gateway (needs a CPython 2.7), and docs/conformance.md from them
	$(BIN)/python -m tests.autobahn $(ARGS)

lint: $(VENV)/.developed ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.developed ## let ruff write the format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.developed ## mypy --strict
	$(BIN)/mypy $(SOURCES)

bench: $(VENV)/.developed ## push end to end at 2,000 a second for 15 s on embedded stores
	$(BIN)/python -m bench.e2e --backends embedded --devices 1000 --rate 2000 --seconds 15 --batch 50 --json $(ARGS)

docs: $(VENV)/.developed ## write docs/alarms.md, config.md, errors.md, metrics.md and states.md from the code
	$(BIN)/python -m ops.docs

proto: $(VENV)/.developed ## make the protobuf modules from their .proto files
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. sdk_proto/wire/frames.proto
	$(BIN)/python -m sdk_proto.rpc.generate

constraints: $(VENV)/.developed ## install the newest that setup.cfg allows and write constraints.txt
	$(PIP) install --upgrade --upgrade-strategy eager -e '.[dev]'
	{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip --disable-pip-version-check freeze --all --exclude-editable --exclude pip; } > $(VENV)/constraints.new
	mv $(VENV)/constraints.new constraints.txt

clean: ## remove what make made (.venv and caches; never ./data)
	rm -rf $(VENV) build dist *.egg-info .autobahn .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Taco into $(VENV) (once; a minute or so) …"
	@$(PIP) install -e . -c constraints.txt || { echo "make: the installation failed; the lines above say why" >&2; exit 1; }
	@touch $@

$(VENV)/.developed: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Taco and its development tools into $(VENV) (once; a minute or so) …"
	@$(PIP) install -e '.[dev]' -c constraints.txt || { echo "make: the installation failed; the lines above say why" >&2; exit 1; }
	@touch $@ $(VENV)/.installed

$(VENV)/bin/python:
	@bash ops/find_python.sh "$(PYTHON)" $(VENV)

.PHONY: help run cluster install test conformance lint format types bench docs proto constraints clean
