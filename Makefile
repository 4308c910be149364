# What a user needs first: `make run` and `make test`. Both set up their own .venv from pinned versions.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Debian's is optimised by a profile; what pyenv builds by itself is not, and takes 1.08 times the CPU a request.
PYTHON ?= $(shell /usr/bin/python3.11 -c 'import ensurepip; print("/usr/bin/python3.11")' 2>/dev/null || echo python3.11)
DATA ?= example.data
SHARDS ?= 3
REPLICAS ?= 1
PORT ?= 8000
HOST ?= 127.0.0.1
ROUNDS ?= 5
SECONDS ?= 4
ATTACK_SECONDS ?= 10
BENCH ?=
PAIRS ?= 10M
CASES ?= 100000
SEED ?= 1

bin := .venv/bin
code := bench client cluster dataset deploy process resp ringkv router shard tests

.PHONY: compiled help run test check format million fuzz attacks chaos spark swarm bench large remote bench-micro screenshots clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# `exec`: Ctrl-C and SIGTERM reach the cluster itself.
run: .venv/.run ## start a cluster: DATA=example.data SHARDS=3 REPLICAS=1 PORT=8000 HOST=127.0.0.1
	@exec $(bin)/ringkv up "$(DATA)" --shards $(SHARDS) --replicas $(REPLICAS) --port $(PORT) --host $(HOST)

# The containers come last and alone: all of them together weigh no more than one process beside them.
test: .venv/.dev compiled ## all tests
	$(bin)/python -m pytest -n auto --ignore tests/compose
	$(bin)/python -m pytest tests/compose

# One process: the router and the shards need the cores.
million: .venv/.dev compiled ## a million pairs, each byte for byte, and 100,000 keys that are not there: minutes
	$(bin)/python -m pytest -m million tests

# A case that fails is told with its seed: CASES=1 SEED=… runs it alone. `make test` runs about a thousand of each kind.
fuzz: .venv/.dev compiled ## HTTP and Redis requests, datasets and catalogs, generated and mutated: CASES=100000 of each kind from SEED=1; hours
	CASES=$(CASES) SEED=$(SEED) $(bin)/python -m pytest tests/fuzz -n auto -o timeout=0 -o faulthandler_timeout=0

# Ten seconds each: the first burst of connections is to be less than a hundredth of the polite client's requests.
attacks: .venv/.dev compiled ## attacks beside a polite client, ATTACK_SECONDS=10 each: its failures and p99, and memory; minutes
	$(bin)/python -m tests.attacks $(ATTACK_SECONDS)

chaos: .venv/.dev compiled ## kill, hang and cut off shards under load; writes docs/chaos.md
	rm -rf build/chaos/results
	$(bin)/python -m pytest tests/chaos -m chaos -p no:randomly; status=$$?; \
	$(bin)/python -m tests.chaos.report build/chaos/results docs; exit $$status

# One process: Spark and packing here are to have the same cores.
spark: .venv/.dev compiled ## pack PAIRS=10M on a master and two workers of Spark, and lose one of them; minutes, and 10 GB
	PAIRS=$(PAIRS) $(bin)/python -m pytest tests/spark -m spark -p no:randomly -s

# As root, with Docker: three engines in network namespaces of their own.
swarm: .venv/.dev compiled ## deploy on three nodes, change everything under load, and lose nodes; minutes, and 10 GB
	$(bin)/python -m pytest tests/swarm -m swarm -p no:randomly -s

# Lasts about 55 minutes. Peers that are not installed are left out, and named with their Debian package.
bench: .venv/.dev compiled ## compare with nginx + memcached and others: ROUNDS=5 SECONDS=4 BENCH="open sizes", or all; writes docs/bench.md
	$(bin)/python -m bench --rounds $(ROUNDS) --seconds $(SECONDS) $(BENCH)

# Its dataset stays: `python -m bench disk build/bench/10000000.dataset` measures reads from the disk.
large: .venv/.dev compiled ## pack, start, look up and lose a shard of PAIRS=10M; 100M take half an hour and 30 GB; writes docs/bench.md
	$(bin)/python -m bench large --pairs $(PAIRS)

remote: .venv/.dev compiled ## shards whose data lie in a store, of PAIRS=10M: what they fetch, and how fast; writes docs/bench.md
	$(bin)/python -m bench remote --pairs $(PAIRS)

bench-micro: .venv/.dev ## the hot functions by themselves, beside all runs before
	$(bin)/python -m pytest bench/micro -p no:randomly -p no:xdist --benchmark-only --benchmark-autosave \
		--benchmark-storage build/bench/micro --benchmark-quiet
	$(bin)/pytest-benchmark --storage build/bench/micro compare --group-by fullname --columns median,iqr,ops,rounds

screenshots: .venv/.dev compiled ## the page's pictures in docs/, made with chromium
	$(bin)/python -m tests.browser.screenshots

check: .venv/.dev ## lint, types, import rules
	$(bin)/ruff format --check $(code)
	$(bin)/ruff check $(code)
	$(bin)/mypy
	$(bin)/lint-imports

format: .venv/.dev ## rewrite the code in the project's format
	$(bin)/ruff format $(code)
	$(bin)/ruff check --fix $(code)

clean: ## remove what the other targets made
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

.venv/bin/python:
	$(PYTHON) -m venv .venv

# Hundreds of processes are started: none is to compile what others have, even if PYTHONDONTWRITEBYTECODE is set.
compiled: .venv/.run
	@$(bin)/python -m compileall -q $(code)

.venv/.run: .venv/bin/python pyproject.toml constraints.txt
	$(bin)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

.venv/.dev: .venv/.run
	$(bin)/pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
	$(bin)/pip install --quiet --constraint constraints.txt --group dev
	@touch $@

