# Each target does all of the set-up that it needs, in .venv, on a fresh machine with Python 3.11+.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-long test-peers lint clean

quickstart: .venv/run
	$(BIN)/python -m rir_jax.train --config=configs/quickstart.py --workdir=runs/quickstart

test: .venv/test
	$(BIN)/python -m pytest

test-long: .venv/test
	$(BIN)/python -m pytest -m long

# pytorchcv declares torchvision, which its RiR does not need.
test-peers: .venv/peers
	$(BIN)/python -m pytest tests/peers

lint: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

clean:
	rm -rf .venv runs .jax_cache

.venv/run .venv/test: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable \
		'.[$(if $(filter test,$(@F)),test,digits)]'
	touch $@

.venv/peers: .venv/test
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,peers]'
	$(BIN)/python -m pip install --quiet --no-deps pytorchcv==0.0.74
	touch $@
