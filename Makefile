# Everything a developer runs. `make` alone lists it.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# As static binaries: without cgo the packages built for the clusters' programs are the tests' too. Race detection is the exception.
export CGO_ENABLED ?= 0
# And as the images are built, so that what they share is compiled once.
export GOFLAGS := $(filter-out -trimpath,$(GOFLAGS)) -trimpath
TOOL := go tool -modfile=tools/go.mod
CLUSTERS := rivendell gondor shire
UNIT := ./cmd/... ./pkg/... ./test/faults/...
# The longest first, so that the others run beside them; three at a time, for they mostly wait.
INTEGRATION := -p 3 ./pkg/controllers/manager ./pkg/member ./pkg/controlplane ./pkg/... ./test/charts/... ./test/faults/...

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

##@ See it

.PHONY: demo
demo: ## Bring up three clusters and a federation of them, and say what to try
	scripts/demo up

.PHONY: demo-down
demo-down: ## Take the demo's clusters down
	scripts/local-cluster down

##@ Test

.PHONY: test
test: tools-test ## Everything but the long matrices: what CI runs
	@# For the race detector everything is compiled once more, in the time that the tests on real API servers and clusters wait;
	@# if one of those fails, that ends too.
	trap 'kill $$(jobs -p) 2>/dev/null || true' EXIT; nice -n 19 $(MAKE) test-unit-build & $(MAKE) test-integration test-e2e; wait
	$(MAKE) test-unit

.PHONY: test-unit
test-unit: ## Unit tests with the race detector, and their coverage
	CGO_ENABLED=1 scripts/test -race -coverprofile=coverage.out $(UNIT)
	go tool cover -func=coverage.out | tail -1

.PHONY: test-unit-build
test-unit-build:
	CGO_ENABLED=1 go test -race -cover -exec true $(UNIT) >/dev/null

.PHONY: test-integration
test-integration: tools-test ## Packages and charts against real API servers, etcd, CoreDNS and Helm
	scripts/test -tags e2e -count=1 -timeout 20m $(INTEGRATION)

.PHONY: test-e2e
test-e2e: fresh-clusters ## Both charts on real clusters, started anew: a demo in them is gone
	scripts/test -tags clusters -count=1 -timeout 5m ./pkg/memberdns/...
	scripts/test -tags e2e -count=1 -timeout 60m -v ./test/e2e/...

.PHONY: test-long
test-long: tools-test fresh-clusters ## Whole matrices and soaks
	scripts/build-tools helmfile
	FEDHELM_TEST=long scripts/test -tags e2e -count=1 -timeout 60m $(INTEGRATION)
	FEDHELM_TEST=long scripts/test -tags e2e -count=1 -timeout 170m -v ./test/e2e/...

.PHONY: bench
bench: fresh-clusters ## Benchmarks, as ratios to a floor; BENCH_FLAGS=-write keeps the results in docs/benchmarks.md
	go test -tags e2e -count=1 -timeout 60m -v ./test/bench $(BENCH_FLAGS)

.PHONY: bench-scale
bench-scale: tools-test ## The same with 5, 10 and 20 members, which are API servers alone
	go test -tags e2e,scale -count=1 -timeout 30m -v -run TestScale ./pkg/controllers/manager $(BENCH_FLAGS)

.PHONY: bench-dns
bench-dns: tools-test ## The federation DNS: time to the answer, staleness under churn, time of the records
	go test -tags e2e,scale -count=1 -timeout 30m -v -run 'TestTimeToAnswer|TestChurn' ./pkg/controllers/manager $(BENCH_FLAGS)
	go test -tags e2e -count=1 -timeout 10m -v -run TestRecords ./test/bench $(BENCH_FLAGS)

.PHONY: clusters
clusters: ## Bring up the local clusters, with the images in them
	scripts/build-tools kubectl helm helm4
	archives=$$(scripts/image && scripts/image dig); scripts/local-cluster up $(CLUSTERS); scripts/local-cluster load-image all $$archives

.PHONY: fresh-clusters
fresh-clusters:
	scripts/local-cluster down
	$(MAKE) clusters

.PHONY: tools-test
tools-test:
	scripts/build-tools etcd kube-apiserver kube-controller-manager kubectl coredns helm helm4 registry
	scripts/require bind9=named

##@ Make

.PHONY: image
image: ## Build the images of fedhook and federation-controller-manager
	scripts/image fedhelm

.PHONY: generate
generate: ## Write what is made from Go types: CRDs, deepcopy, the charts' values, schemas and READMEs
	$(TOOL) controller-gen object paths=./pkg/apis/... crd output:crd:dir=pkg/apis/federation/v1beta1/crd
	go run ./cmd/chartgen

.PHONY: lint
lint: ## Check formatting, Go, charts and scripts
	scripts/lint
