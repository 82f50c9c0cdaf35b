# Everything a developer or an operator runs. `make` sets up what it needs by itself: uv from PyPI with the Python at
# hand, then two environments from the one lock (pyproject.toml says why there are two). `make lint` has a third, as
# checkov pins boto3 to an old version. Whatever is installed is checked against a hash that is in this repository.

SHELL := /bin/bash
INSTALL_UV := pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement tools/uv.txt
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
PYTHON := .venv/bin/python
FETCHED_MB := 250
# What uv says as it goes, but for its list of all that it has installed.
SHOWING_PROGRESS = @set -o pipefail; $(1) 2>&1 | sed --unbuffered '/^ [-+~] /d'
# SAM builds with the first python3.13 on PATH that has pip: its own environment's.
SAM := PATH="$(CURDIR)/.venv-sam/bin:$$PATH" SAM_CLI_TELEMETRY=0 .venv-sam/bin/sam
COMPILE := $(UV) pip compile --quiet --upgrade --universal --python-version 3.13 --generate-hashes --no-annotate \
  --no-header --no-emit-index-url
# The processor that the layer is built for; `make deploy ARCHITECTURE=arm64` builds and deploys for Graviton.
export ARCHITECTURE ?= x86_64
# Python reads and writes text as UTF-8, whatever the locale.
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.PHONY: help setup first-time demo picture browser check test lint lint-code lint-templates format build local bench bench-check prove \
  acceptance deploy package clean lock

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{sub(/:.*/, "", $$1); printf "  make %-11s %s\n", $$1, $$2}'

setup: .venv/.synced  ## Make the development environments (the other targets do it when it is needed)

demo: setup  ## Deploy to the embedded local AWS and rotate a live certificate under traffic
	$(PYTHON) -m demo

picture: setup browser  ## Take the README's pictures of the page that `make demo` has made
	@$(PYTHON) -m demo.page.picture

browser: setup  # Have a browser for the page's tests: one that is there, or else Chromium
	@$(PYTHON) -m demo.browser

check: setup  ## Between two edits: style of what has changed, types, and the unit tests
	@$(PYTHON) -m tests.check

test: setup browser  ## Run every test: unit, integration, end to end; the long trials are in prove
	ONLY=$(ONLY) $(PYTHON) -m tests

lint: setup .venv-checkov/.synced  ## Check style, types, the templates and the lock
	@$(MAKE) --no-print-directory --jobs=2 --output-sync=target lint-code lint-templates

lint-code: setup
	$(UV) lock --check --quiet
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy layers/rotation/mtls_rotation cli/mtlsctl client/mtls_client sidecar/mtls_sidecar localaws demo acceptance tests
	@set -e; for function in functions/*/ examples/lambda/function/; do $(PYTHON) -m mypy $$function; done

lint-templates: setup .venv-checkov/.synced
	$(PYTHON) -m tests.repository.template

format: setup  ## Put the code into form
	$(PYTHON) -m ruff check --fix --quiet .
	$(PYTHON) -m ruff format .

build: setup  ## Build the functions and the layer into .aws-sam/
	$(SAM) build --parameter-overrides Architecture=$(ARCHITECTURE)

local: setup  ## Keep the embedded local AWS up with the stack on it, and say how to use it from another shell
	@$(PYTHON) -m demo.local build/local.env

bench: setup  ## Measure, into build/bench/results.json
	$(PYTHON) -m tests.benchmarks

bench-check: setup  ## Fail if an AWS call or a ratio has become worse than in docs/bench.json
	@$(PYTHON) -m tests.benchmarks.check

prove: setup .venv-checkov/.synced  ## Try to break the promise at full length, into build/prove/report.json; QUICK=1 in minutes
	$(PYTHON) -m tests.proof $(if $(QUICK),--quick)

acceptance: setup  ## Try everything on the AWS account at hand, which costs under 2 USD; AGAINST=local for the local AWS
	@$(PYTHON) -m acceptance $(if $(AGAINST),--against $(AGAINST)) $(if $(DOMAIN_NAME),--domain-name $(DOMAIN_NAME)) \
	  $(if $(HOSTED_ZONE_ID),--hosted-zone-id $(HOSTED_ZONE_ID)) $(if $(YES),--yes) $(if $(CLEAN),--clean)

deploy: build  ## Deploy to the AWS account at hand; PARAMETERS="DomainName=api.example.com HostedZoneId=Z..."
	$(SAM) deploy --parameter-overrides Architecture=$(ARCHITECTURE) $(PARAMETERS)

# Where `make package` puts what it makes.
PACKAGE := build/package

# The wheels need no account, and come first. Beside them lies what they depend on, as the lock has it, so that nothing
# is asked of an index at installation. Then the template, fit for the Serverless Application Repository too.
package: setup  ## Wheels into build/package/, and the template with its code in a bucket: BUCKET=..., or one of SAM's
	rm -rf "$(PACKAGE)"
	@$(UV) build --quiet --all-packages --wheel --build-constraints sidecar/build-requirements.txt --require-hashes \
	  --out-dir "$(PACKAGE)/wheels"
	@$(UV) export --quiet --frozen --all-packages --all-extras --no-default-groups --no-emit-workspace --no-annotate \
	  --no-header --output-file "$(PACKAGE)/requirements.txt"
	@.venv-sam/bin/python -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
	  --require-hashes --requirement "$(PACKAGE)/requirements.txt" --dest "$(PACKAGE)/wheels"
	@echo "$(PACKAGE)/wheels: install with \`uv tool install --no-index --find-links $(PACKAGE)/wheels mtlsctl\`"
	@.venv-sam/bin/aws sts get-caller-identity >/dev/null || { echo "The wheels are there, the template is not packaged:" \
	  "its code goes into a bucket, and no AWS account answered (see above). Give credentials, and run it again." >&2; \
	  exit 1; }
	@$(SAM) build --build-dir "$(PACKAGE)/built" --parameter-overrides Architecture=$(ARCHITECTURE) >"$(PACKAGE)/sam.log" \
	  2>&1 || { cat "$(PACKAGE)/sam.log" >&2; exit 1; }
	@$(SAM) package --template-file "$(PACKAGE)/built/template.yaml" --output-template-file "$(PACKAGE)/packaged.yaml" \
	  $(if $(BUCKET),--s3-bucket $(BUCKET) --s3-prefix mtls-rotation,--resolve-s3) >>"$(PACKAGE)/sam.log" 2>&1 || \
	  { cat "$(PACKAGE)/sam.log" >&2; exit 1; }
	@echo "$(PACKAGE)/packaged.yaml: deploy with \`sam deploy --template-file $(PACKAGE)/packaged.yaml\`," \
	  "or publish with \`sam publish --template $(PACKAGE)/packaged.yaml\`"

lock: .tools/bin/uv  ## Renew the lock, the requirements that are made from it, and checkov's
	$(UV) lock --upgrade
	$(COMPILE) tools/uv.in --output-file tools/uv.txt
	$(COMPILE) tools/checkov.in --output-file tools/checkov.txt
	$(UV) export --quiet --frozen --package mtls-rotation --no-dev --no-emit-project --no-emit-workspace \
	  --no-annotate --no-header --output-file layers/rotation/requirements.txt
	$(UV) export --quiet --frozen --package mtls-client --extra httpx --no-dev --no-emit-project --no-emit-workspace \
	  --no-annotate --no-header --output-file client/requirements.txt
	$(UV) export --quiet --frozen --package mtls-sidecar --no-dev --no-emit-project --no-emit-workspace \
	  --no-annotate --no-header --output-file sidecar/requirements.txt
	$(UV) export --quiet --frozen --only-group build --no-annotate --no-header \
	  --output-file sidecar/build-requirements.txt

clean:  ## Remove what was built; the environments stay
	rm -rf .aws-sam dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	# But for the lists of what a run on an account may have left there.
	[ ! -d build ] || find build -mindepth 1 ! -path build/acceptance ! -path 'build/acceptance/ledgers*' -delete

.tools/bin/uv: tools/uv.txt
	# A venv where the Python at hand can make one; else pip alone (Debian ships the two apart).
	python3 -m venv .tools && .tools/bin/python -m $(INSTALL_UV) || \
	  { rm -rf .tools && python3 -m $(INSTALL_UV) --target .tools; }
	@touch $@

# Before anything is fetched. A test holds the figure: what the lock says of the packages' sizes, and uv itself.
first-time:
	@echo "The first time here: $(FETCHED_MB) MB are downloaded, but for what uv has in its cache, and take up 900 MB in" \
	  ".tools, .venv and .venv-sam."

# Compiled here, once: a program that starts would else compile what it imports, each time where it may not keep it.
.venv/.synced: pyproject.toml uv.lock cli/pyproject.toml client/pyproject.toml layers/rotation/pyproject.toml sidecar/pyproject.toml .python-version | $(if $(wildcard .venv/.synced),,first-time) $(filter .tools/bin/uv,$(UV))
	$(call SHOWING_PROGRESS,$(UV) sync --frozen --compile-bytecode)
	$(call SHOWING_PROGRESS,UV_PROJECT_ENVIRONMENT=.venv-sam $(UV) sync --frozen --compile-bytecode --only-group sam)
	@touch $@

.venv-checkov/.synced: tools/checkov.txt .python-version | $(filter .tools/bin/uv,$(UV))
	$(UV) venv --quiet --allow-existing .venv-checkov
	$(UV) pip sync --quiet --python .venv-checkov/bin/python --require-hashes --only-binary :all: tools/checkov.txt
	@touch $@
