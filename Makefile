# Everything a newcomer or a CI machine needs; each target sets up .venv by itself.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
DEMO_OUTPUT ?= outputs/demo

.PHONY: demo test lint benchmark clean

demo: $(STAMP)
	$(VENV)/bin/python tools/detect_video.py assets/demo.mp4 --output $(DEMO_OUTPUT)

test: $(STAMP)
	$(VENV)/bin/python -m pytest

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

benchmark: $(STAMP)
	for script in benchmarks/bench_*.py; do $(VENV)/bin/python $$script || exit 1; done

# The stamp is newer than setup.cfg only after a complete install, so a changed setup.cfg
# or an interrupted install leads to a new one.
$(STAMP): setup.cfg pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than Python 3.11; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) outputs build *.egg-info
