# The commands of everyday work. `make test` is what continuous integration runs.
#   make test      environment, format, lint, types, import order, tests
#   make drill     some 3,900 attacks: kills, full disks, damaged files, hostile visitors (20 minutes on 2 cores at most)
#   make demo      a small synthetic video, from one side, to a 4D object, into demo/
#   make format    format the sources
#   make clean     remove what the other targets made

PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$candidate && break; done)
BIN := .venv/bin
READY := .venv/.ready
COMPILED := .venv/.compiled

# The tests start some hundred processes: each would compile all sources again if the environment forbade to keep that.
export PYTHONDONTWRITEBYTECODE =

.PHONY: test drill demo format clean

test: $(COMPILED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/ty check src
	$(BIN)/lint-imports --no-cache
	# Each process takes a half of the tests in their order, so that what a module's tests share is made once, and whoever
	# is done first takes of the other's. Status 5: no test was collected, which is not a failure of the code.
	$(BIN)/pytest -n 2 --dist worksteal -m "not gpu" || test $$? -eq 5

drill: $(READY)
	$(BIN)/python tests/drill --json drill.json

demo: $(COMPILED)
	rm -rf demo
	$(BIN)/ds4d sample demo/data --frames 16 --size 128
	$(BIN)/ds4d generate demo/data/front.mp4 -o demo/run --preset tiny
	$(BIN)/ds4d export demo/run --format html -o demo/object.html

format: $(READY)
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

clean:
	rm -rf .venv build demo drill.json src/*.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# Installed again only when the requirements have changed.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "ds4d needs Python 3.10 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3.12" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "$(PYTHON) must be Python 3.10 or newer. Name another: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	test -x $(BIN)/python || "$(PYTHON)" -m venv .venv
	$(BIN)/python -m pip install --quiet -e '.[dev]' -c constraints.txt
	touch $@

# Kernels are kept in the folder of their sources; those that changed since are compiled by whoever needs them.
$(COMPILED): $(READY)
	$(BIN)/ds4d compile
	touch $@
