# Everything a developer or an operator runs. `make` sets up what it needs by itself: uv from PyPI with the Python at
# hand, then two environments from the one lock (see pyproject.toml for why there are two).

SHELL := /bin/bash
UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
PYTHON := .venv/bin/python
SAM := .venv-sam/bin/sam

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint build local bench deploy clean lock

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.tools/bin/uv:
	python3 -m venv .tools
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

.venv/.synced: pyproject.toml uv.lock layers/rotation/pyproject.toml | $(filter .tools/bin/uv,$(UV))
	$(UV) sync --frozen --quiet
	UV_PROJECT_ENVIRONMENT=.venv-sam $(UV) sync --frozen --quiet --only-group sam
	@touch $@

setup: .venv/.synced  ## Make the development environments (the other targets do it when needed)
