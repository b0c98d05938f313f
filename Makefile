# Loopwright. `make help` lists the targets; every one of them sets up what it needs.
.DEFAULT_GOAL := help
.PHONY: help venv demo test check chaos bench bench-loop bench-durable bench-service test-vllm vllm-venv lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
PACKAGES := agents api client inference memory planner tools workers
MODULES := $(sort $(basename $(filter-out __init__.py,$(wildcard *.py))))
PYTEST := $(BIN)/python -m pytest
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

venv: $(STAMP)  ## Set up .venv from the lock file, the package editable in it

$(STAMP): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); sys.exit(0 if ok else "Loopwright needs Python 3.11, 3.12 or 3.13, this is %s: make PYTHON=python3.11 venv" % sys.version.split()[0])'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "Python's venv module is missing: on Debian, apt-get install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: venv  ## Run the demonstration: plain requests, answered by the small model in this repository
	@$(BIN)/python examples/demo.py

test: venv  ## Run the tests against real servers
	$(PYTEST) -q tests

chaos: venv  ## Attack the service at full size and write what was measured into docs/guarantees.md
	LOOPWRIGHT_CHAOS=full $(PYTEST) -q --timeout=1800 tests/chaos
	$(BIN)/python -m tests.chaos.publish

check: venv  ## Lint, types, import direction, exported names
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@mkdir -p .cache/typing && ln -sfn ../.. .cache/typing/loopwright
	cd .cache/typing && ../../$(BIN)/mypy --config-file ../../pyproject.toml $(addprefix -p loopwright.,$(PACKAGES)) \
		$(addprefix -m loopwright.,$(MODULES))
	$(PYTEST) -q tests/structure

bench: bench-loop bench-durable bench-service  ## Run every benchmark beside its peers
	$(BIN)/python benchmarks/bench_stream.py
	$(BIN)/python benchmarks/bench_journal.py

bench-loop: venv  ## CPU per step of a run, beside other frameworks
	$(BIN)/python benchmarks/bench_loop.py

bench-durable: venv  ## CPU per durable step, beside LangGraph and DBOS
	$(BIN)/python benchmarks/bench_durable.py

bench-service: venv  ## Accepting, pickup, density, scaling and streams of the service
	$(BIN)/python benchmarks/bench_service.py

vllm-venv: venv  ## Set up .venv-vllm: vLLM's CPU build, in an environment of its own
	tests/vllm/build_env.sh .venv-vllm

test-vllm: vllm-venv  ## Run the tests against a real vLLM server
	LOOPWRIGHT_REQUIRE_VLLM=1 $(PYTEST) -q -m vllm tests/vllm

lock: venv  ## Write the lock files anew from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --extra embedded -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-annotate --no-header --extra embedded --group dev -o requirements-dev.lock

clean:  ## Remove environments and caches
	rm -rf .venv .venv-vllm .venv-peers .cache .mypy_cache .ruff_cache .pytest_cache build *.egg-info
