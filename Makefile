# Everything from a fresh clone: make test, make demo. Needs Python 3.11 or newer and pip's package index, nothing else.

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3.14 python3,$(if $(shell $(name) -c 'import sys; print(1 if sys.version_info >= (3, 11) else "")' 2>/dev/null),$(name))))
PY := .venv/bin/python
REQUIREMENTS := requirements-dev.txt $(wildcard copytrade_*/pyproject.toml webapp/pyproject.toml)
ARGS ?=

.PHONY: install test demo lint clean

install: .venv/.installed

# The mark is newer than every file that says what is needed; without it an interrupted install is begun again.
.venv/.installed: $(REQUIREMENTS)
	@test -n "$(PYTHON)" || { echo "copytrade needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(PY) || $(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

test: install
	$(PY) -m pytest $(ARGS)

demo: install
	.venv/bin/copytrade demo $(ARGS)

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy -p copytrade_core -p copytrade_binance -p copytrade_bitget -p copytrade_notify -p copytrade_webapp

clean:
	rm -rf .venv
