# Everything below sets itself up: python3 (3.11 or newer), pip and make are enough.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ENGINES_VENV ?= .venv-engines

.DEFAULT_GOAL := help
.PHONY: help up test check golden test-engines test-kubernetes bench bench-scheduling bench-sockets chaos fuzz clean image-check lock

help:  ## say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | awk -F'\t' '{printf "  make %-16s %s\n", $$1, $$2}'

up: $(VENV)/.core  ## run examples/lora-multi-model on this machine (EXAMPLE=dir for another)
	@exec $(BIN)/headgate up $(or $(EXAMPLE),examples/lora-multi-model)

test: $(VENV)/.dev  ## all tests that need no GPU, no cluster, no root (both cores at once)
	@sh scripts/test $(BIN) $(PYTEST_ARGS)

check: $(VENV)/.dev  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check src tests bench chaos fuzz
	$(BIN)/ruff format --check src tests bench chaos fuzz
	$(BIN)/mypy
	$(BIN)/lint-imports

golden: $(VENV)/.dev  ## write the golden files anew; then read the diff
	$(BIN)/pytest tests/golden --update

test-engines: $(VENV)/.dev  ## real vLLM on the CPU behind the gateway, and the simulator held against it
	@sh scripts/test-engines $(BIN) $(ENGINES_VENV)

test-kubernetes: $(VENV)/.dev  ## a real kube-apiserver and etcd, those of KUBEBUILDER_ASSETS (docs/kubernetes-testing.md)
	@sh scripts/test-kubernetes $(BIN) $(PYTEST_ARGS)

bench: $(VENV)/.dev  ## CPU per request, with the peers beside it, installed as needed (CASES=a,b SYSTEMS=x,y for a part)
	@$(BIN)/python -m bench $(if $(CASES),--cases $(CASES)) $(if $(SYSTEMS),--systems $(SYSTEMS)) $(BENCH_ARGS)

bench-scheduling: $(VENV)/.core  ## what policies do, rehearsed; writes docs/scheduling.md (BENCH_ARGS=--capacity: and the endpoints needed)
	@$(BIN)/python -m bench.scheduling $(BENCH_ARGS)

bench-sockets: $(VENV)/.dev  ## pickers side by side over real sockets, before simulated servers; writes docs/scheduling-sockets.md
	@$(BIN)/python -m bench.sockets $(BENCH_ARGS)

chaos: $(VENV)/.core  ## everything at once, while all around the gateway breaks: ten minutes (SECONDS=60 for one)
	@$(BIN)/python -m chaos --seconds $(or $(SECONDS),600) $(CHAOS_ARGS)

fuzz: $(VENV)/.core  ## a million requests, answers and bodies that nobody would send (CASES=50000 for fewer)
	@$(BIN)/python -m fuzz --cases $(or $(CASES),1000000) $(FUZZ_ARGS)

image-check:  ## do what the Dockerfile does, without Docker (as root, on Linux; EXTRAS="kubernetes" for fewer)
	@sh scripts/image-check $(PYTHON) $(if $(EXTRAS),"$(EXTRAS)")

lock:  ## resolve the versions in requirements/ anew
	sh scripts/lock $(PYTHON)

clean:  ## remove what was made
	rm -rf $(VENV) $(ENGINES_VENV) bench/work .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

$(VENV)/bin/pip:
	@sh scripts/venv $(PYTHON) $(VENV)

$(VENV)/.core: requirements/core.txt requirements/build.txt pyproject.toml | $(VENV)/bin/pip
	@echo "installing headgate into $(VENV)"
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/core.txt
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/build.txt
	@$(BIN)/pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.core
	@echo "installing the development tools into $(VENV)"
	@$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@
