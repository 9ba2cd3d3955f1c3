# Two targets do all the set-up on a fresh Debian or Ubuntu with Go and make: `make demo` and `make test`.
# They install what is missing and say what and why. `make help` lists the rest.

SHELL       := /bin/bash
export CGO_ENABLED := 0
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS     := -s -w -X github.com/tillstream/tillstream/internal/cli.version=$(VERSION)
BIN         := bin/tillstream
GO          := go
TEST_FLAGS  ?=
DEMO_ARGS   ?=
# The parts that a test must find: here and in CI nothing is skipped for want of them.
REQUIRE     ?= chdb kafka redis chromium

.PHONY: help demo test build lint install-chdb install-kafka install-redis bench fuzz clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 18

demo: install-chdb build ## play a story on embedded parts and show what happened (DEMO_ARGS="--orders 5000 --exit --json")
	$(BIN) demo $(DEMO_ARGS)

test: install-chdb install-kafka install-redis install-chromium lint ## all tests, on embedded and on real parts
	@echo "==> tests of every package (real Kafka, Redis and ClickHouse engine where a test asks for them)"
	@TILLSTREAM_REQUIRE="$(REQUIRE)" $(GO) test -timeout 30m $(TEST_FLAGS) $$($(GO) list ./... | grep -vE '/internal/(e2e|chaos)$$')
	@echo "==> engine, delivery and loader on the real client in virtual time: rebalances, storms of faults, days, a soak"
	@$(GO) test -tags synctests -timeout 10m $(TEST_FLAGS) ./pipeline ./pipeline/deliver ./pipeline/load ./internal/virtual ./internal/soak
	@$(MAKE) --no-print-directory simulate
	@echo "==> end to end: the built program, killed in mid-story"
	@TILLSTREAM_REQUIRE="$(REQUIRE)" $(GO) test -timeout 30m $(TEST_FLAGS) ./internal/e2e
	@echo "==> chaos, a short run: three processes, three brokers, a Redis, every fault"
	@TILLSTREAM_REQUIRE="$(REQUIRE)" $(GO) test -timeout 30m $(TEST_FLAGS) ./internal/chaos

build: ## bin/tillstream
	@echo "==> building $(BIN) $(VERSION) (the first build compiles every library: a few minutes)"
	@$(GO) build -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/tillstream

lint: ## formatting, vet, staticcheck
	@echo "==> gofumpt, go vet, staticcheck"
	@out=$$($(GO) tool -modfile=tools/go.mod gofumpt -l $$(git ls-files '*.go')); \
		if [ -n "$$out" ]; then echo "gofumpt would change these files; run 'make format':"; echo "$$out"; exit 1; fi
	@$(GO) vet ./...
	@$(GO) tool -modfile=tools/go.mod staticcheck ./...

.PHONY: format vulncheck
format: ## write the formatting that lint asks for
	$(GO) tool -modfile=tools/go.mod gofumpt -w $$(git ls-files '*.go')

vulncheck: ## known vulnerabilities in what is linked (asks the Go vulnerability database)
	$(GO) run golang.org/x/vuln/cmd/govulncheck@latest ./...

install-chdb: ## the embedded ClickHouse (npm)
	@scripts/install.sh chdb

install-kafka: ## a real Apache Kafka for tests (Maven)
	@scripts/install.sh kafka

install-redis: ## a real Redis for tests (apt)
	@scripts/install.sh redis

install-chromium: ## a real browser for the tests of the page (apt)
	@scripts/install.sh chromium

.PHONY: page install-chromium
page: ## bundle the page anew (web/src to web/dist, which is committed)
	@$(GO) run ./web/build

SEEDS ?= 20000
.PHONY: simulate chaos
simulate: build ## SEEDS histories of the engine under seeded faults, without a violation (go test finds the mutants)
	@echo "==> $(SEEDS) seeded histories"
	@$(BIN) simulate engine --seeds $(SEEDS)

KILLS ?= 100
CHAOS_ARGS ?=
chaos: install-kafka install-redis build ## KILLS kills of real processes beside every other fault, on three real brokers (half an hour)
	$(GO) run ./internal/chaos -kills $(KILLS) -binary $(abspath $(BIN)) $(CHAOS_ARGS)

.PHONY: soak
SOAK_ARGS ?= -contacts 20000 -kills 30 -rate 600 -gap 20s
soak: install-kafka install-redis ## many contacts at a CRM in bad weather, with real processes that are killed (SOAK_ARGS="-contacts 1000 -rate 60")
	TILLSTREAM_REQUIRE="$(REQUIRE)" $(GO) test ./internal/soak -run '^TestSoak$$' -v -timeout 4h $(SOAK_ARGS)

BENCH ?= all
BENCH_ARGS ?=
bench: ## benchmarks; BENCH=engine: the engine against Kafka Streams and a floor (half an hour); BENCH=ingest: the receiver of webhooks (a quarter of an hour); BENCH=load: Kafka into ClickHouse (ten minutes); BENCH=code: Go's own
ifneq ($(filter all engine,$(BENCH)),)
	@$(MAKE) --no-print-directory install-kafka install-redis
	$(GO) run ./bench/harness $(BENCH_ARGS)
endif
ifneq ($(filter all ingest,$(BENCH)),)
	@$(MAKE) --no-print-directory install-kafka install-redis
	$(GO) run ./bench/ingest -brokers memory,kafka $(if $(filter ingest,$(BENCH)),$(BENCH_ARGS))
endif
ifneq ($(filter all load,$(BENCH)),)
	@$(MAKE) --no-print-directory install-chdb
	$(GO) run ./bench/load $(if $(filter load,$(BENCH)),$(BENCH_ARGS))
endif
ifneq ($(filter all code,$(BENCH)),)
	$(GO) test -run '^$$' -bench . -benchmem ./schemas/... ./connectors/... ./processors/... ./pipeline/... ./sinks/...
endif

FUZZTIME ?= 30s
fuzz: ## every fuzz target for FUZZTIME
	@for f in $$(grep -rl --include='*_test.go' 'func Fuzz' .); do \
		for name in $$(grep -oE '^func Fuzz[A-Za-z0-9_]+' $$f | sed 's/func //'); do \
			echo "==> $$name in $$(dirname $$f)"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) ./$$(dirname $$f) || exit 1; \
		done; done

clean: ## what the targets above made (the installed parts stay in .cache)
	rm -rf bin
