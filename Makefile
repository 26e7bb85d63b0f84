# `make demo` and `make test` need only Python 3.10 or newer with its venv module, and a network.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.octo_ros_ready
WORKERS ?= 2

.PHONY: demo test lint install clean

demo: $(READY)
	$(VENV)/bin/octo-ros demo

test: $(READY) lint
	$(RUN) -m pytest -n $(WORKERS) --dist loadfile -q

lint: $(READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/lint-imports
	$(VENV)/bin/mypy

install: $(READY)

$(READY): setup.py setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "octo_ros needs Python 3.10 or newer; $(PYTHON) is" \
	    "$$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments." \
	    "On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip
	$(RUN) -m pip install --quiet --editable '.[ros,test]'
	touch $@

clean:
	rm -rf $(VENV) build install log *.egg-info demo_out octo_ros_out
