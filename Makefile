# `make demo` and `make test` need only Python 3.10 or newer with its venv module, and a network.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed_to_run
READY := $(VENV)/.installed_to_test
WORKERS ?= 2
# The meshes of the simulated arm. What the package depends on has no wheels for Python 3.13.
ARM := 'gym-aloha>=0.1.5'

.PHONY: demo pictures policy test lint install clean

demo: $(INSTALLED)
	@scripts/install_renderer.sh $(RUN)
	$(VENV)/bin/octo-ros demo $(ARGS)

# The film and the picture of the README, made anew.
pictures: $(INSTALLED)
	$(VENV)/bin/octo-ros demo --video gif $(ARGS)
	cp demo_out/demo.gif demo_out/demo.png doc/

# The shipped policy made anew, in the folder policy. The second line wants a GPU with 12 GB.
SIZES := --size primary=64x64 --size wrist=64x64
policy: $(READY)
	$(VENV)/bin/octo-ros record policy/demos --episodes 24000 --processes $$(nproc) $(SIZES)
	$(VENV)/bin/octo-ros finetune policy/demos --robot viperx_sim --preset tabletop \
	  --out policy/tabletop
	$(RUN) scripts/teach_colours.py policy/tabletop/checkpoint policy/taught
	$(VENV)/bin/octo-ros record policy/scenes --seed 200000 --episodes 1900 --every-colour \
	  --processes $$(nproc) $(SIZES)
	$(VENV)/bin/octo-ros finetune policy/scenes --robot viperx_sim --preset tabletop_words \
	  --checkpoint policy/taught --out policy/trained
	$(VENV)/bin/octo-ros record policy/changes --seed 300000 --episodes 1700 --every-colour \
	  --interrupted 0.7 --processes $$(nproc) $(SIZES)
	$(VENV)/bin/octo-ros finetune policy/changes --robot viperx_sim --preset tabletop_changes \
	  --checkpoint policy/trained/checkpoint --out policy/changed

test: $(READY) lint
	@scripts/install_renderer.sh $(RUN)
	$(RUN) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -q

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mypy

install: $(READY)

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "octo_ros needs Python 3.10 or newer; $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments." \
	    "On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip

$(INSTALLED): setup.py setup.cfg | $(VENV)/bin/pip
	$(RUN) -m pip install --quiet --editable '.[ros,sim]'
	$(RUN) -m pip install --quiet --no-deps $(ARM)
	touch $@

$(READY): setup.py setup.cfg | $(VENV)/bin/pip
	$(RUN) -m pip install --quiet --editable '.[ros,sim,train,test]'
	$(RUN) -m pip install --quiet --no-deps $(ARM)
	touch $@ $(INSTALLED)

clean:
	rm -rf $(VENV) build install log *.egg-info demo_out octo_ros_out octo_replay
