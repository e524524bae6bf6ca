# Every target sets up what it needs; where that is done already, set-up is skipped.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python

.PHONY: demo quick test lint bench lock clean

demo: .venv/.clip-b16
	$(BIN)/clipfake demo $(if $(IMAGES),--images "$(IMAGES:~/%=$(HOME)/%)")

quick: .venv/.installed-dev
	$(BIN)/python -m pytest -n 2 -m "not slow"

test: .venv/.installed-dev
	$(BIN)/python -m pytest -n 2

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/audit.py requirements.lock

# Heavy runs; docs/benchmarks.md keeps the figures. With DETECTOR=... and CORPUS=... also the full count of kills.
# Throughput writes docs/throughput.md and its figure: of IMAGES="DIR ...", else of made ones; BENCH="--gpu" and the like.
bench: .venv/.installed-dev
	$(BIN)/python tests/benchmarks/throughput.py $(IMAGES) --docs docs $(BENCH)
	$(if $(IMAGES),$(BIN)/python tests/benchmarks/startup.py $(firstword $(IMAGES)))
	$(if $(IMAGES),$(BIN)/python tests/benchmarks/cluster.py $(firstword $(IMAGES)))
	$(BIN)/python tests/benchmarks/growth.py 1000 10000 100000 1000000
	$(BIN)/python tests/benchmarks/growth.py --chunk 1024 --work prepared 100000 1000000
	$(BIN)/python tests/benchmarks/scale.py --measure
	$(BIN)/python tests/benchmarks/scale.py --tasks
	$(BIN)/python tests/benchmarks/scale.py --docs docs
	$(BIN)/python tests/benchmarks/listing.py
	$(BIN)/python tests/benchmarks/plan_incremental.py 1000000 3000000 10000000
	$(BIN)/python tests/benchmarks/fuzz_decode.py --count 50000
	$(BIN)/python tests/benchmarks/chaos_schedules.py --count 60
	$(BIN)/python tests/benchmarks/train_scale.py 10000 100000 1000000
	$(BIN)/python tests/benchmarks/svm.py
	$(BIN)/python tests/benchmarks/head_training.py 38647 1000000
	$(if $(DETECTOR),$(BIN)/python tests/benchmarks/chaos_kills.py $(DETECTOR) $(CORPUS))

# The locks name no host: pinned versions and hashes only, for every platform. The first holds the second's versions.
# `make lock UPGRADE=` changes no version that is locked already: for a dependency that is new.
UPGRADE := --upgrade
lock: .venv/.uv
	$(BIN)/uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet $(UPGRADE) -o requirements-dev.lock
	$(BIN)/uv pip compile pyproject.toml -c requirements-dev.lock --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet -o requirements.lock

clean:
	rm -rf .venv clipfake-demo

# uv itself comes by pip, with the version and the hashes that the lock states.
.venv/.uv: requirements-dev.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "clipfake needs Python 3.11 or newer: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.lock > .venv/uv.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary=:all: -r .venv/uv.lock
	touch $@

.venv/.installed: requirements.lock pyproject.toml .venv/.uv
	$(UV) --require-hashes -r requirements.lock
	$(UV) --no-deps --editable .
	touch $@

# The default encoder comes into the cache while there is a network; where nowhere has it, the demo says so and goes on.
.venv/.clip-b16: .venv/.installed
	$(UV) 'onnx>=1.17' -c requirements-dev.lock || true
	$(BIN)/clipfake encoder show clip-b16 > /dev/null && touch $@ || true

.venv/.installed-dev: requirements-dev.lock .venv/.installed
	$(UV) --require-hashes -r requirements-dev.lock
	touch $@
