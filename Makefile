# Three commands: `make demo` shows both daemons at work, `make test` runs every test, `make bench` compares image data
# with nginx, Varnish and stock Glance (bench/README.rst).
# DEMO_ONCE=1 make demo   the same demonstration, ending by itself
# PYTHON=python3.12 make  another interpreter than the newest one found

# The newest one that has the venv module; without it the newest one, so that the message below names what is missing.
PYTHON ?= $(shell for wanted in "sys, ensurepip, venv" sys; do for p in python3.13 python3.12 python3.11 python3; do \
	"$$p" -c "import $$wanted; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && { echo $$p; exit; }; done; done)
VENV ?= .venv

.PHONY: demo test bench clean
.DELETE_ON_ERROR:

demo: $(VENV)/.installed
	@$(VENV)/bin/python -m glance_tx.commands.demo

test: $(VENV)/.tox-installed
	@$(VENV)/bin/tox run

# CASES=download,herd ROUNDS=3   some cases only, another number of rounds       QUICK=1   small images
# BENCH_PEERS=FOLDER   where stock Glance is installed            BENCH_OUT=FOLDER   where JSON and chart are put
BENCH_PEERS ?= .bench
BENCH_OUT ?= $(if $(CASES)$(ROUNDS)$(QUICK),.bench,docs/performance)

bench: $(VENV)/.installed
	@$(VENV)/bin/python bench/image_data.py --cache $(BENCH_PEERS) --out $(BENCH_OUT) \
		--cases "$(CASES)" $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(QUICK),--quick) $(BENCH_OPTIONS)

$(VENV)/bin/python:
	@python="$(PYTHON)"; fail() { echo "make: $$1" >&2; exit 1; }; \
	[ -n "$$python" ] || fail "Python 3.11 or newer is needed, and none was found"; \
	command -v "$$python" >/dev/null || fail "there is no program $$python"; \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		fail "$$python is not Python 3.11 or newer"; \
	"$$python" -c 'import ensurepip, venv' 2>/dev/null || \
		fail "$$python lacks the venv module (Debian: apt install python3-venv)"; \
	"$$python" -m venv "$(VENV)"

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	@echo "installing into $(VENV)"
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.tox-installed: $(VENV)/bin/python
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'tox>=4.20'
	@touch $@

clean:
	rm -rf $(VENV) .tox build dist demo-data
