# The two commands: `make study` and `make test`. Each is enough on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true

DATA ?=
SOURCE ?=
PROFILE ?=
OVERRIDES := $(if $(PROFILE),profile=$(PROFILE)) $(if $(DATA),data=$(DATA)) $(if $(SOURCE),data.source=$(SOURCE))

.PHONY: study cells ui test bench check figures clean

JOBS ?=

# Install, run the study (make study DATA=cifar10 SOURCE=path PROFILE=cpu JOBS=2), say where its results are.
study: $(BIN)/.installed
	$(if $(strip $(OVERRIDES)),auglens compose $(OVERRIDES))
	$(if $(JOBS),$(MAKE) --no-print-directory cells JOBS=$(JOBS))
	dvc repro
	@echo
	@echo "report: $(CURDIR)/reports/index.html"
	@echo "runs:   make ui   (http://127.0.0.1:5000)"

# DVC runs one stage after another. This runs JOBS cells at a time, each with train.threads threads of its own.
ONE := dvc --wait-for-lock repro --quiet --single-item
cells:
	dvc repro --quiet plan
	dvc stage list --name-only | sed -n 's/^train//p' | xargs -P $(or $(JOBS),2) -I{} $(ONE) train{} explain{}
	dvc stage list --name-only | sed -n 's/^train//p' | xargs -P $(or $(JOBS),2) -I{} $(ONE) measure{} score{}

ui: $(BIN)/.installed
	auglens ui

# What CI runs: lint, types, tests.
test: $(BIN)/.installed-dev
	ruff check .
	ruff format --check .
	mypy
	pytest -n 2 --dist loadfile --no-loadscope-reorder

# Every row of docs/performance.md, measured anew (make bench ONLY="gradcam map_metrics" for some of them).
bench: $(BIN)/.installed-dev
	python -m benchmarks $(ONLY)

$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[pipeline]'
	touch $@

$(BIN)/.installed-dev: $(BIN)/.installed
	pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[pipeline,dev]'
	touch $@
