# Everything starts here: `make` lists the commands. They set up .venv themselves, once.

PYTHON ?= python3
# Tests marked `torch` use it. A plain `torch` may bring gigabytes of GPU libraries along.
TORCH ?= torch==2.13.0

BIN := .venv/bin
DONE := .venv/.done

.DEFAULT_GOAL := help
.PHONY: help demo test check test-torch test-pycuda example-imagenet check-models fuzz verify-cuda bench docs clean distclean fuzz-onnx conformance

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' Makefile

demo: $(DONE)/run ## compile LeNet, verify it, read real handwritten digits with it
	@$(BIN)/python -m cnngen.demo

test: check ## lint, types and all tests that do without PyTorch
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal -m "not torch"

check: $(DONE)/dev ## lint, formatting and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test-torch: $(DONE)/torch ## the tests that hold cnngen against PyTorch and Keras (installs them first)
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist worksteal -m torch tests/torch

example-imagenet: $(DONE)/torch ## a PyTorch module with trained weights names what is on photographs; writes build/imagenet.png
	$(BIN)/python examples/imagenet.py

test-pycuda: $(DONE)/pycuda ## the launcher's tests through pycuda (builds it first, with the headers of a CUDA toolkit)
	CNNGEN_CUDA_DRIVER=pycuda $(BIN)/python -m pytest tests/unit/test_cuda_launcher.py tests/unit/test_cuda_arrays.py tests/faults/test_device.py

check-models: $(DONE)/torch ## well-known networks at full size, as modules, as ONNX and as imported specs, against ONNX Runtime
	$(BIN)/python benchmarks/export_models.py
	$(BIN)/python benchmarks/round_trip.py --light

fuzz: $(DONE)/dev ## random networks on every ISA; SECONDS=600 or NETWORKS=2000, SEED=1, TARGET=cuda-emulated; failures go to build/fuzz/
	$(BIN)/python -m tests.fuzz $(if $(TARGET),--target $(TARGET)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(NETWORKS),--networks $(NETWORKS)) $(if $(SEED),--seed $(SEED))

verify-cuda: $(DONE)/dev ## every shipped network, made small, through the CUDA emulation in every precision; registers by nvcc
	$(BIN)/python -m tests.verify_cuda
	@mkdir -p build
	for precision in fp32 tf32 fp16; do \
	  $(BIN)/python -m tests.guarded "cuda-emulated $$precision" > build/guarded.log || { tail -20 build/guarded.log; exit 1; }; \
	  echo "between guard pages, $$precision: passed"; \
	done
	$(BIN)/python -m tests.cuda_tiles --sample 60
	@if command -v nvcc >/dev/null; then $(BIN)/python -m tests.cuda_registers; \
	else echo "there is no nvcc: not checked that the kernels keep everything in registers"; fi

bench: $(DONE)/dev ## benchmarks; writes benchmarks/results/
	$(BIN)/python benchmarks/kernels.py --json kernels.json
	$(BIN)/python benchmarks/lenet.py --json lenet.json
	$(BIN)/python benchmarks/startup.py --json startup.json

docs: $(DONE)/dev ## rewrite what is generated: docs/layers/, the picture of a tile and the JSON Schema
	$(BIN)/python scripts/layer_pages.py
	$(BIN)/python scripts/tile_picture.py
	$(BIN)/python -m cnngen.frontends.schema

fuzz-onnx: $(DONE)/dev ## damaged ONNX models; COUNT=5000, SEED=1
	$(BIN)/python -m tests.fuzz.onnx_mutations --count $(or $(COUNT),5000) --seed $(or $(SEED),1)

conformance: $(DONE)/dev ## the whole test suite of ONNX on every ISA, and by its own runner; docs/onnx_support.md
	$(BIN)/python -m tests.conformance

clean: ## remove what builds and checks wrote; .venv stays
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find cnngen tests benchmarks specs scripts -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv, too
	rm -rf .venv

# A stamp says that its step is done; a change of the dependencies does it again.
$(DONE)/run $(DONE)/dev: $(DONE)/%: pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "there is no '$(PYTHON)' here: install Python 3.11 or newer, or name it: make PYTHON=python3.12 ..." >&2; exit 2; }
	@$(PYTHON) scripts/setup_env.py $*

$(DONE)/torch: $(DONE)/dev
	@$(PYTHON) scripts/setup_env.py torch "$(TORCH)"

$(DONE)/pycuda: $(DONE)/dev
	$(BIN)/python scripts/build_pycuda.py
	@touch $@
