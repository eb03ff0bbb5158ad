# make check is what a change must pass. CONTRIBUTING.md says which target is for what.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := check
# The order of check's parts is meant: what fails cheaply comes first.
.NOTPARALLEL:

TOOLS := \
	github.com/bufbuild/buf/cmd/buf@v1.75.0 \
	github.com/evanw/esbuild/cmd/esbuild@v0.28.2 \
	github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 \
	google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12 \
	google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
# One empty file for each tool and version says that .bin holds it: .bin/buf@v1.75.0.
STAMPS := $(addprefix .bin/,$(notdir $(TOOLS)))
# Only bench-micro needs it.
BENCHSTAT := golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
PLATFORMS := linux/arm64 darwin/arm64 windows/amd64
# The generated code; nothing else lies in these folders.
GENERATED := internal/wire/workerpb host/cluster/internal/clusterpb

.PHONY: check static check-tidy check-nolint check-format check-generated lint cross test test-as-nobody hostile tools fmt generate fuzz vmtest wine kill-loop chaos soak soak-cluster faults-cluster bench bench-micro picture man page screenshots

check: static test

# What reads the sources, and runs no tests.
static: check-tidy check-nolint check-format check-generated lint cross

check-tidy:
	go mod tidy -diff

# An exception belongs into .golangci.yml, with its reason.
check-nolint:
	! grep -rnE '//[[:space:]]*(nolint|#nosec|lint:ignore|revive:disable)' --include='*.go' .

check-format: tools
	.bin/golangci-lint fmt --diff
	.bin/buf format --diff --exit-code

check-generated: tools
	.bin/buf lint
	@tmp=$$(mktemp -d); trap 'rm -r "$$tmp"' EXIT; \
	.bin/buf generate --output "$$tmp"; \
	for d in $(GENERATED); do \
		diff -ru "$$d" "$$tmp/$$d" || { echo 'generated code has changed: run make generate' >&2; exit 1; }; \
	done; \
	mkdir "$$tmp/page"; \
	host/dashboard/page/build.sh .bin/esbuild "$$tmp/page"; \
	diff -ru host/dashboard/built "$$tmp/page" || { echo 'the page has changed: run make page' >&2; exit 1; }

lint: tools
	.bin/golangci-lint run

# vet compiles everything, test files too. For this platform the linters do the same.
cross:
	@for p in $(PLATFORMS); do \
		echo "build and vet for $$p"; \
		export CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/}; \
		go build -o /dev/null ./cmd/parhost; \
		go vet $$(go list ./... | grep -v /internal/screens); \
	done

# A process under the race detector waits for a second before it ends, unless it is told not to. Thousands end in the tests.
export GORACE ?= atexit_sleep_ms=0

# The tests under the race detector, which leaves out what the detector falsifies: measured costs, and the end of memory. SHORT=-short tries one
# sandbox level where the promise is the same at all, for CI, which has run all levels without the detector. PACKAGES are all, or some.
SHORT ?=
PACKAGES ?= ./...
test:
	go test -race $(SHORT) -count=1 -timeout 1h $(PACKAGES)

# What package host promises of sandboxes, once more for a host without rights, which confines its workers by other means. Only root can
# become nobody. (Package host/sandbox does this in its own tests.)
test-as-nobody:
	@tmp=$$(mktemp -d); trap 'rm -r "$$tmp"' EXIT; chmod 777 "$$tmp"; \
	go test -c -o "$$tmp/host.test" ./host; \
	cd "$$tmp"; \
	setpriv --reuid 65534 --regid 65534 --clear-groups env -i PATH="$$PATH" HOME="$$tmp" TMPDIR="$$tmp" \
		./host.test -test.run 'Confined|InASandbox|MemoryLimit|AmongGoodItems|TheCause|EndsSoon|LeavesAProcess|Checksum'

# All that docs/SANDBOX.md says is stopped, as a table: each row with what came of its tests, as root and as nobody, and all attempts at each level.
hostile:
	go run ./internal/suite

tools: $(STAMPS)

$(STAMPS) .bin/$(notdir $(BENCHSTAT)):
	GOBIN="$(CURDIR)/.bin" go install $(filter %/$(@F),$(TOOLS) $(BENCHSTAT))
	rm -f .bin/$(firstword $(subst @, ,$(@F)))@*
	touch $@

fmt: tools
	.bin/golangci-lint fmt
	.bin/buf format --write

generate: tools
	rm -rf $(GENERATED)
	.bin/buf generate

# The dashboard's page, from its sources in host/dashboard/page.
page: tools
	host/dashboard/page/build.sh .bin/esbuild host/dashboard/built

# The pictures of the page that the documentation shows. Look at them.
screenshots:
	go run ./internal/screens docs/img

# Each fuzz target for FUZZTIME: what parses bytes of the other side, or of a user. To make large inputs small, as Go does for a minute each
# by default, would leave no time to try others.
FUZZTIME ?= 60s
fuzz:
	@grep -rnoE --include='*_test.go' '^func Fuzz[A-Za-z]+' . | while IFS=: read -r file _ name; do \
		echo "$$file $${name#func }"; \
		go test "$$(dirname "$$file")" -run '^$$' -fuzz "^$${name#func }$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x; \
	done

# The sandbox on other kernels than this machine's, in virtual machines; docs/SANDBOX.md says which. VMTEST=-v shows all that was tried,
# -short is what CI has time for.
# In the package's folder, where go test shows the table that a test prints which passes.
VMTEST ?=
vmtest:
	.ci/kernels
	cd internal/vm && PARHOST_VM_KERNELS="$(CURDIR)/.bin/kernels" go test -count=1 -timeout 40m $(VMTEST)

# The tests for Windows, under Wine; docs/SANDBOX.md says what that shows. WINE takes flags of go test, WINE_PACKAGES packages.
WINE ?=
WINE_PACKAGES ?= ./host ./host/joblog ./host/sandbox ./host/sandbox/internal/trial ./sdk/... ./plugins/... \
	./internal/arena ./internal/conform ./internal/family ./internal/link ./internal/litter ./internal/schema ./internal/wire ./internal/work
wine:
	.ci/wine
	go run ./internal/wine -count=1 $(WINE) $(WINE_PACKAGES)

# SIGKILL for the host, KILLS times in one run of KILL_ITEMS items that goes on each time; the tests do so in small.
KILLS ?= 50
KILL_ITEMS ?= 20000
kill-loop:
	go test -count=1 -v -run 'Killed' ./cmd/parhost -kills $(KILLS) -items $(KILL_ITEMS)

# Items that come to every bad end among CHAOS_ITEMS, workers that are killed and lie, a host that is killed; the tests do so in small.
# Linux. CHAOS_SEED repeats a run: each prints its own.
CHAOS_ITEMS ?= 100000
CHAOS_SEED ?= 0
chaos: kill-loop
	go test -count=1 -v -timeout 1h -run 'Chaos|OneCrash|NowAndThen|OfAGiB|ConfinedPools' ./host -items $(CHAOS_ITEMS) -seed $(CHAOS_SEED) -pools 200

# A host that does everything for the length of SOAK, and must gather nothing. Linux.
SOAK ?= 20m
soak:
	go test -count=1 -v -timeout 0 -run 'Soak' ./host -soak $(SOAK)

# Three servers, three nodes and a submitter, of which one of each kind is killed and started again every few seconds for the length of CHURN.
CHURN ?= 10m
soak-cluster:
	go test -count=1 -v -timeout 0 -run Churn ./host/cluster -churn $(CHURN)

# All faults of a cluster's processes, disks and networks, those too that take long for a test. Root on Linux runs most of them.
faults-cluster:
	go test -count=1 -v -timeout 30m -run 'Outlives|Stock|Room|Large|Kills|Churn|Follow|Leaves' ./host/cluster -long

# parhost against its peers, which are set up first: writes bench/RESULTS.md and bench/results.svg. BENCH takes flags, such as
# '-rows sqrt -out ""'.
BENCH ?=
bench:
	bench/peers/setup
	CGO_ENABLED=0 go build -o .bin/bench/bench ./bench
	.bin/bench/bench -out bench $(BENCH)

# The layers one by one. BASE is the output of an earlier run, kept under another name, to compare with.
COUNT ?= 10
BASE ?=
bench-micro: .bin/$(notdir $(BENCHSTAT))
	@mkdir -p .bin/bench
	go test -run '^$$' -bench . -count $(COUNT) ./internal/... ./sdk ./host ./plugins/sqrt ./plugins/reduce | tee .bin/bench/micro.txt
	.bin/benchstat $(BASE) .bin/bench/micro.txt

# The README's picture, of a real run.
picture:
	go build -o .bin/parhost ./cmd/parhost
	PATH="$(CURDIR)/.bin:$$PATH" go run ./internal/picture \
		'parhost --plugin reduce --procs 8 --output table' \
		'seq 0 99999 | parhost --plugin sqrt --input - --output values | tail -2' \
		"parhost --plugin reduce --procs 2 --compare --repeat 8 '{\"number\":50000,\"seed\":1}' 2>/dev/null" >docs/img/run.svg

# The manual pages, for packages.
man:
	go run ./cmd/parhost man .bin/man
