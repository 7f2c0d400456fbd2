# `make run` and `make test` do everything, from nothing but Python 3.11+ and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A second environment, for the agent on tflite-runtime, where Python still has a wheel of it.
OTHER := .venv-tflite-runtime
PIP_FLAGS := --quiet --disable-pip-version-check --no-input

# Google's adbd and adb, for tests of phones without one.
ADBD := .adbd

.PHONY: run test test-long test-vm bench bench-predict setup lint clean help

help:  ## This list.
	@grep -E '^[a-z-]+:.*## ' Makefile | sed 's/:.*## /\t/'

run: $(VENV)/.installed  ## Adapt the bundled network to half its latency on this machine.
	$(BIN)/adapt run --model adapt/demo/digits.keras --data adapt.demo:digits \
		--budget latency=50% --compare uniform

setup: $(VENV)/.installed  ## Make .venv with everything, locked.

test: $(VENV)/.installed $(OTHER)/.installed $(ADBD) lint  ## Lint, type check, and all tests of normal length.
	$(BIN)/python -m pytest -q

lint: $(VENV)/.installed  ## Style, types and the direction of imports.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test-long: $(VENV)/.installed $(OTHER)/.installed $(ADBD)  ## The same tests with many more examples, kills and mutants.
	STORE_MODEL_EXAMPLES=2100 STORE_MODEL_STEPS=50 TABLE_KILLS=100 ADAPT_LONG=1 \
		$(BIN)/python -m pytest -q

test-vm: $(VENV)/.installed $(ADBD)  ## Phones and USB in virtual machines; ten minutes.
	ADAPT_VM=1 $(BIN)/python -m pytest -q tests/fleet/vm

bench: $(VENV)/.installed  ## Every benchmark, one after the other; half an hour and more.
	for script in tools/bench/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

bench-predict: $(VENV)/.installed  ## How well tables predict whole networks; half an hour of an idle machine.
	$(BIN)/python tools/bench/thresholds.py
	$(BIN)/python tools/bench/curves.py

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_FLAGS) --require-hashes -r requirements.lock
	$(BIN)/python -m pip install $(PIP_FLAGS) --no-deps --no-build-isolation -e .
	touch $@

$(OTHER)/.installed: requirements-tflite-runtime.lock
	mkdir -p $(OTHER)
	if $(PYTHON) -c 'import sys; sys.exit(sys.version_info >= (3, 12))'; then \
		$(PYTHON) -m venv $(OTHER) && \
		$(OTHER)/bin/python -m pip install $(PIP_FLAGS) --require-hashes -r $< && \
		echo "$(CURDIR)" > "$$($(OTHER)/bin/python -c 'import site; print(site.getsitepackages()[0])')/adaptd.pth"; \
	else echo "tflite-runtime has no wheel for this Python; its tests will be skipped"; fi
	touch $@

$(ADBD):
	-sh tools/fetch_adbd.sh $@

clean:  ## Remove the environments and caches.
	rm -rf $(VENV) $(OTHER) $(ADBD) build .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
