# `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LAB := $(BIN)/python -m lab
# Where the host keeps its scripts.
SCRIPTS = $(shell $(BIN)/python -c "from group_data.all import paths; print(paths.scripts)")
# What needs no machine. tests/production alone reads what production declares.
UNIT = tests/unit tests/production lab/tests
# Of the migrations, what `make test` tries: old servers with rows, refused, adopted, killed, gone on with.
ADOPTION = tests/migration/test_adoption.py
# Suites that break much and wait long, and are not a part of `make test`.
FAULTS = tests/services/test_backups.py tests/services/test_watch.py \
    $(filter-out $(ADOPTION),$(wildcard tests/migration/test_*.py))
# Files whose first line names a shell. (Links may lead to folders, at which Debian's awk ends.)
SHELL_SCRIPTS = $(shell find $$(git ls-files) -maxdepth 0 -type f | xargs awk 'FNR == 1 && /^\#!.*[\/ ](ba)?sh$$/ { print FILENAME } { nextfile }')

.DEFAULT_GOAL := help
.PHONY: help deploy test check lint unit host adoption projects services rehearsal test-faults test-vm verify check-host molecule rotate bench bench-first budget map \
    checklist pages regenerate edits backup-list restore lab lab-reset lab-down lab-shell prerequisites

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# Whatever the shell is set to. (No comment behind it: the blanks before that would belong to the value.)
deploy: export SOURCEFAST_ENV := lab
deploy: lab ## bring the lab up and provision it over SSH
	$(BIN)/pyinfra -y inventory.py deploy.py

test: lint prerequisites ## lint, unit tests, and the lab: deploy, try everything, deploy again for nothing; side by side with MORE="rehearsal test-vm molecule"
	$(BIN)/python -m tests.lanes $(MORE)

lint: $(VENV)/installed ## ruff, mypy, shellcheck; zizmor and GitHub's schema for the workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy . .github
	$(BIN)/shellcheck $(SHELL_SCRIPTS)
	$(BIN)/zizmor --quiet --offline .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions .github/actions/*/action.yml

check: lint ## while you work: lint, types, and the unit tests nearest to what differs from main
	set -o pipefail; $(BIN)/python -m tests.affected | xargs --no-run-if-empty $(BIN)/pytest -q -n 2

# Two workers for each of two cores, as many tests wait. Whatever the environment sets: without bytecode each worker rewrites and compiles every test anew.
unit check: export PYTHONDONTWRITEBYTECODE :=
unit: prerequisites $(VENV)/installed ## tests that need no machine
	$(BIN)/pytest -n 4 --dist worksteal $(UNIT)

host: lab ## tests of the provisioned machine
	$(BIN)/pytest tests/host

adoption: lab ## an old server with rows is taken over by a machine beside the lab's; killed once, and gone on with
	$(BIN)/pytest $(ADOPTION)

services: lab ## tests of the shared services, with every phase deployed
	$(BIN)/pytest $(addprefix --ignore=,$(FAULTS)) tests/services

projects: lab ## tests of the projects: containers, isolation, schemas, jobs, voicejury's chains
	$(BIN)/pytest tests/projects

rehearsal: lab ## production on a machine beside the lab's: its own user, port, jump host, language, encrypted secrets; from bare to checked
	$(BIN)/pytest tests/rehearsal

test-faults: lab ## what takes long: backups damaged and restored, each threshold crossed, old servers taken over
	$(BIN)/pytest $(FAULTS)

test-vm: export LAB_BACKEND := qemu
test-vm: prerequisites $(VENV)/installed ## a machine with its own kernel (QEMU): swap, limits, reboot, power cuts, full disk, another board
	$(LAB) internet
	$(BIN)/pytest tests/vm

verify: $(VENV)/installed ## try everything that the host has: routes, keys, budgets, traces, containers; calls paid models too
	$(BIN)/pyinfra -y inventory.py verify.py

check-host: $(VENV)/installed ## ask the host whether everything is as declared: read-only, free of charge, at any hour
	$(BIN)/pytest checks $(if $(HOST),--hosts=ssh://$(HOST))

molecule: prerequisites $(VENV)/molecule ## a fresh lab: deploy, again for nothing, check, break three things, repair them, check; PHASES=hardware SCENARIO=vm
	MOLECULE_PHASES=$(PHASES) PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/molecule test $(addprefix --scenario-name=,$(SCENARIO))

rotate: $(VENV)/installed ## forget the generated secret SECRET=NAME; the next deploy makes and uses a new one
	$(BIN)/python -m blueprint.rotation $(SECRET)

bench: lab ## what a run that changes nothing costs, beside its floor
	$(BIN)/python -m lab.bench

bench-first: lab ## what the first deploy of the shared services costs, beside a bare script that does the same
	$(BIN)/python -m lab.first_deploy

budget: $(VENV)/installed ## everything that is limited, as the sum it is, with every hardware profile
	$(BIN)/python -m blueprint.budget

map: $(VENV)/installed ## draw the server: map.html, complete in itself
	$(BIN)/python -m blueprint.map

checklist: $(VENV)/installed ## write docs/checklist.md: what proves each line of the requirements' checklist
	$(BIN)/python -m tests.checklist

backup-list: $(VENV)/installed ## every backup of the hosts of the environment
	$(BIN)/pyinfra inventory.py exec -- $(SCRIPTS)/backup-list.sh

restore: $(VENV)/installed ## put a database back: DB=litellm FROM=20261122T030000Z (or newest), really: YES=1
	$(if $(and $(DB),$(FROM)),,$(error say which database and which backup: make restore DB=... FROM=..., see `make backup-list`))
	$(BIN)/pyinfra inventory.py exec -- $(SCRIPTS)/restore.sh $(DB) $(FROM) $(if $(IN),--container $(IN)) $(if $(YES),--yes)

regenerate: pages checklist ## after an edit: write all that is generated and committed; the pages, the golden files, the lab's tags
	$(BIN)/python -m lab.images.tags
	GOLDEN=write $(BIN)/pytest -q tests/unit/phases/test_hardware_files.py -k every_file_whole

edits: $(VENV)/installed ## edit production's declarations ten times, regenerate, and run the unit tests
	$(BIN)/pytest tests/edits

pages: $(VENV)/installed ## write docs/phases/: what each phase deploys
	$(BIN)/python -m phases.pages

lab: prerequisites $(VENV)/installed ## bring the lab up
	$(LAB) up

lab-reset: $(VENV)/installed ## return the lab's server to a fresh machine
	$(LAB) reset

lab-down: $(VENV)/installed ## stop the lab and leave nothing behind
	$(LAB) down
	for lane in $(wildcard .lab/lanes/*); do $(MAKE) -C $$lane lab-down; done

lab-shell: $(VENV)/installed ## root shell on the lab's server
	$(LAB) shell

prerequisites:
	@lab/prerequisites.sh

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

$(VENV)/molecule: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[molecule]'
	@touch $@
