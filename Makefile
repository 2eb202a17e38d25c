# GNU make and Python 3.11 or later are all that must be there already.
PYTHON ?= python3
DATA ?=
PRESET ?= $(if $(DATA),xquad,mini)
SEED ?= 0 1 2
DEVICE ?= cpu
FRACTION ?= 1
BUDGET ?=
PUBLISHED ?=
VENV := .venv
BIN := $(VENV)/bin
NBVAL := TQDM_DISABLE=1 $(BIN)/python -m pytest -o addopts= --nbval-lax --nbval-cell-timeout=900
NOTEBOOKS := notebooks/ notebooks/solutions/
# Some read the runs that others train, so these go one after the other, with all cores; two processes share the rest.
SHARING := $(wildcard $(foreach folder,$(NOTEBOOKS),$(foreach number,02 03 04 05 06 07 00,$(folder)$(number)_*.ipynb)))

.PHONY: help data reproduce evidence publish verify test docs lab lock clean
.DEFAULT_GOAL := help

help:  ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12
	@echo
	@echo 'make reproduce PRESET=mini|xquad  DATA=<folder of the data>  SEED="0 1 2"  DEVICE=cpu|cuda'

# The environment is remade when the pinned set changes.
$(VENV)/.made: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed, this is " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

data: $(VENV)/.made  ## download and build what preset xquad reads, into DATA or data/public (git is needed)
	$(BIN)/python -m reproduction.sources.public --out $(or $(DATA),data/public)

reproduce: $(VENV)/.made  ## run the notebooks in order; prints the result table; PUBLISHED=1 from committed ranks, a minute
	$(BIN)/python -m reproduction.commands.reproduce --preset $(PRESET) --data "$(DATA)" --seeds $(SEED) \
		--device $(DEVICE) $(if $(filter 1,$(PUBLISHED)),--published)

evidence: $(VENV)/.made  ## measure the sweeps 08 to 11 and 14: hours, resumable; FRACTION=0.5 for a part, BUDGET=10m for what fits
ifneq ($(BUDGET),)
	$(BIN)/python -m reproduction.commands.measure --preset $(PRESET) --data "$(DATA)" --device $(DEVICE) --budget $(BUDGET)
else
	$(BIN)/python -m reproduction.commands.reproduce --preset $(PRESET) --data "$(DATA)" --seeds $(SEED) \
		--device $(DEVICE) --evidence --fraction $(FRACTION)
endif

publish: $(VENV)/.made  ## commit to what was measured and drawn: from runs/ to results/ and figures/
	$(BIN)/python -m reproduction.commands.publish --preset $(PRESET)

verify: $(VENV)/.made  ## hold each number of README and docs against its table; ROW=<name> measures one anew
	$(BIN)/python -m reproduction.commands.verify --row "$(ROW)" --data "$(DATA)"

test: $(VENV)/.made  ## lint, unit tests and doctests, then the notebooks themselves
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal
	OMP_NUM_THREADS=1 $(NBVAL) -n 2 --dist loadfile $(filter-out $(SHARING),$(wildcard $(NOTEBOOKS:%=%[01]*.ipynb)))
	$(NBVAL) $(SHARING)

docs: $(VENV)/.made  ## build the site with the executed notebooks into build/site; warnings and dead links are errors
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --nitpicky -c docs -d build/doctrees . build/site
	@echo "open build/site/index.html"

lab: $(VENV)/.made  ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=notebooks

lock: $(VENV)/.made  ## resolve pyproject.toml's dependencies into requirements.txt and environment.yml
	$(BIN)/python -m pip install --quiet pip-tools
	$(BIN)/pip-compile --quiet --all-extras --strip-extras --allow-unsafe --no-emit-index-url --no-emit-find-links \
		--no-emit-trusted-host --no-annotate --output-file requirements.txt pyproject.toml
	$(BIN)/python tools/environment.py

clean:  ## remove the environment and all runs
	rm -rf $(VENV) runs
