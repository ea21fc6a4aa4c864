# All set-up happens by itself. A Docker Engine that runs is never touched; with one running nothing here needs root.
PYTHON ?= python3 python3.13 python3.12 python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
TORCH ?= torch==2.13.0
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHON

.DEFAULT_GOAL := help
.SILENT:
.PHONY: help venv engine demo test check coverage docs bench proto test-torch test-gpu test-adversarial advisories clean tools

help: ## this list
	grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

venv: $(STAMP) ## the virtual environment .venv: the package, editable, and its development tools

$(STAMP): pyproject.toml runtime/setup/venv.sh
	sh runtime/setup/venv.sh $(VENV)
	touch $@

engine: ## install and start Docker Engine where none answers
	sh runtime/setup/engine.sh --with-mmdebstrap

demo: venv engine ## train a model in an image built from one line, under limits
	$(BIN)/python examples/demo.py

tools: venv engine
	sh tests/setup.sh $(BIN)

test: tools ## all tests, with the real engine; ARGS="tests/unit -k lock" chooses
	$(BIN)/python -m pytest $(or $(ARGS),-n auto --maxprocesses 4 --hypothesis-profile=thorough)

check: venv ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

coverage: venv ## how much of the source the unit and property tests run, by file
	$(BIN)/python -m pytest tests/unit tests/property -q -n auto --cov --cov-report=term:skip-covered $(ARGS)

docs: venv ## the public API and the command line as a small site in .docs
	$(BIN)/python -m pip --disable-pip-version-check install -qq --editable '.[docs]'
	$(BIN)/mkdocs build --quiet --strict --config-file docs/mkdocs.yml

bench: tools ## against flyte's builder and the best uv Dockerfile; ARGS="--rounds 3"
	$(BIN)/python -m compileall -q flyte_images layers runtime
	$(BIN)/python -m tests.bench --readme $(ARGS)
	$(BIN)/python -m tests.bench.calls --readme

test-adversarial: tools ## attack trials, the long ones too: hostile index, registry, results, users, kills
	$(BIN)/python -m pytest tests/adversarial -n auto --maxprocesses 2 -m "adversarial or not adversarial" $(ARGS)

test-torch: ## the tests of tensors, with PyTorch in an environment apart, .torch; TORCH="torch==2.13.0" chooses
	sh runtime/setup/venv.sh .torch
	.torch/bin/python -m pip --disable-pip-version-check install -qq $(TORCH)
	.torch/bin/python -m pytest -q tests/unit/runtime/values/test_tensors.py $(ARGS)

test-gpu: tools ## what needs an NVIDIA GPU and its driver
	$(BIN)/python -m pytest tests/gpu -m gpu $(ARGS)

advisories: venv ## ask the package index for known vulnerabilities of the dependencies, and add them to the list
	$(BIN)/python -m tests.advisories $(ARGS)

# The oldest protobuf that pyproject.toml admits must read the generated code, so an old compiler writes it; the newest
# mypy-protobuf writes its types.
PROTO := $(wildcard flyte_images/*/pb/*.proto)
proto: venv ## compile the .proto files
	$(BIN)/uv run --quiet --no-project --python $(BIN)/python --with 'grpcio-tools==1.65.5' --with 'setuptools<81' \
		python -W ignore -m grpc_tools.protoc -I . --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
		--python_out=. --mypy_out=quiet:. $(PROTO)

clean: ## what make made here: the virtual environment, caches of tools; no image, no engine
	rm -rf $(VENV) .torch dist .docs .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find flyte_images layers runtime tests -name __pycache__ -prune -exec rm -rf {} +
