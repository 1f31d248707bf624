# Essential containers: `make help` lists the targets.

IMG ?= essential-containers:$(VERSION)
RELEASE := essential-containers
CHART := charts/essential-containers
VERSION := $(shell git describe --always --dirty --tags 2>/dev/null || echo development)
BIN := $(CURDIR)/bin

# The name of the image on the local clusters contains a hash of its source, without tests: with a constant tag, the old image
# would keep running.
CONTENT := $(shell find go.mod go.sum api certs cmd internal reaper webhook -type f ! -name '*_test.go' ! -path '*/testdata/*' | LC_ALL=C sort | xargs cat | sha256sum | cut -c1-12)
LOCAL_IMG := docker.io/local/essential-containers:$(CONTENT)
ARCHIVE := $(BIN)/image-$(CONTENT).tar

# Without C everywhere: the build cache is shared with the parts of the clusters.
GO = CGO_ENABLED=0 go

SHELL := bash
.SHELLFLAGS := -o pipefail -c

# Real clusters on this machine: one for the demo, others for the tests.
CLUSTER = $(GO) run ./test/cluster --bin-dir=$(BIN) --name=$(1) $(KUBERNETES:%=--kubernetes=%) $(KUBELET:%=--kubelet=%)
LOCAL_KUBECONFIG = /var/lib/essential-containers/$(1)/kubeconfig
TOOL = go tool -modfile=go.tools.mod
GOTESTSUM = $(TOOL) gotestsum --format=pkgname-and-test-fails

# docker where its engine runs, else buildah.
CONTAINER_TOOL ?= $(shell docker info >/dev/null 2>&1 && echo docker || echo buildah)

# Root is checked before anything is compiled. Plain sudo does not find Go: it has a PATH of its own.
ROOT_GOALS := $(filter $(if $(filter command,$(origin KUBECONFIG)),,demo) test setup chart-test e2e vm-test faults bench cluster-up cluster-down clean,$(MAKECMDGOALS))
$(if $(and $(ROOT_GOALS),$(filter-out 0,$(shell id -u))),$(warning make $(MAKECMDGOALS) needs root: run it again with: sudo env PATH="$$PATH" make $(MAKECMDGOALS) $(MAKEOVERRIDES))$(error not root))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {print "\n" substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Two commands with all their set-up (Linux, root, Go)

demo: ## Show the main use on a real cluster, step by step; with KUBECONFIG= and IMG=, on your own
# Only a KUBECONFIG on the command line counts: the one of the environment may be a production cluster.
ifeq ($(origin KUBECONFIG),command line)
	$(call CLUSTER,demo) build-helm
	$(GO) run ./test/demo --kubeconfig=$(KUBECONFIG) --image=$(IMG) --helm=$(BIN)/helm --chart=$(CHART)
else
	$(call CLUSTER,demo) up
	$(MAKE) --no-print-directory $(ARCHIVE)
	$(call CLUSTER,demo) load $(ARCHIVE)
	$(GO) run ./test/demo --local --kubeconfig=$(call LOCAL_KUBECONFIG,demo) --image=$(LOCAL_IMG) --helm=$(BIN)/helm --chart=$(CHART)
endif

test: FAULTS_MINUTES := 2
test: FAULTS_SEED := 4
test: E2E_CLUSTERS += faults
test: E2E_PACKAGES += ./test/faults
test: setup lint unit chart-test e2e ## Everything: lint, unit, chart and end-to-end tests, two minutes of faults (what CI runs)

##@ Develop

setup: ## Install and build what the tests need; cached
	$(call CLUSTER,e2e) --tests build

build: ## Build the program into bin/
	$(GO) build -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN)/ ./cmd/essential-containers

lint: ## gofmt, go vet, golangci-lint; all modules tidy
	@echo "golangci-lint is built first: some minutes on a new machine"
	$(TOOL) golangci-lint run ./...
	$(TOOL) golangci-lint fmt --diff ./...
	for module in cluster/parts/certmanager cluster/parts/pause bench/plots; do go -C test/$$module vet ./... || exit 1; done
	for module in . test/bench/plots test/cluster/parts/*/; do go -C $$module mod tidy -diff || exit 1; done

unit: ## Unit tests with the race detector
	$(GOTESTSUM) -- -race $$(go list ./... | grep -v /test/chart)
	go -C test/bench/plots test ./...

FUZZTIME ?= 30s
fuzz: ## Fuzz every target for FUZZTIME; a failing input becomes a file below testdata/fuzz
	@for package in $$(go list ./... | grep -v /test/); do for target in $$(go test -list='^Fuzz' $$package | grep '^Fuzz'); do \
		echo "$$target of $$package, $(FUZZTIME)"; go test -run='^$$' -fuzz="^$$target\$$" -fuzztime=$(FUZZTIME) $$package || exit 1; done; done

chart-test: setup ## Lint the chart and test its manifests
	$(BIN)/helm lint --strict $(CHART)
	HELM=$(BIN)/helm $(GOTESTSUM) -- ./test/chart

# With an older kubelet, only the stops are tested; RUN= selects more.
RUN ?= $(if $(KUBELET),Test(EndToEnd|Installation)/(Stops|ReaperDown|FullNode|PreemptedByKubelet|Burst))
E2E_CLUSTERS := e2e installation
E2E_PACKAGES := ./test/cluster ./test/e2e
# The clusters start and are used side by side. They are always removed, also after a failure, which leaves their logs in bin/e2e; KEEP=1 keeps them.
e2e: setup $(ARCHIVE) ## End-to-end tests on real clusters; RUN= selects, KUBERNETES= sets their version, KUBELET= only the kubelet's, KEEP=1 keeps them
	@rm -rf $(BIN)/e2e && mkdir -p $(BIN)/e2e; status=0; pids=; \
	for name in $(E2E_CLUSTERS); do \
		{ $(call CLUSTER,$$name) $$([ $$name != faults ] || echo --audit=test/faults/audit.yaml) up && $(call CLUSTER,$$name) load $(ARCHIVE); } & pids="$$pids $$!"; done; \
	for pid in $$pids; do wait $$pid || status=1; done; \
	[ $$status != 0 ] || KUBECONFIG=$(call LOCAL_KUBECONFIG,e2e) INSTALLATION_KUBECONFIG=$(call LOCAL_KUBECONFIG,installation) FAULTS_FLAGS='$(call FAULTS_FLAGS,$(CURDIR)/)' \
		IMG=$(LOCAL_IMG) HELM=$(BIN)/helm HELM3=$(BIN)/helm3 KUBECTL=$(BIN)/kubectl KUBERNETES=$(KUBERNETES) KUBELET=$(KUBELET) \
		$(GOTESTSUM) --format=standard-verbose --jsonfile=$(BIN)/e2e/tests.json -- -count=1 -vet=off -p=3 -parallel=8 -timeout=40m -tags=e2e $(if $(RUN),-run='$(RUN)') $(E2E_PACKAGES) \
		| tee $(BIN)/e2e/output || status=$$?; \
	for name in $(E2E_CLUSTERS); do \
		[ $$status = 0 ] || cp -r $(dir $(call LOCAL_KUBECONFIG,$$name))logs $(BIN)/e2e/$$name; \
		[ -n "$(KEEP)" ] || $(call CLUSTER,$$name) down >/dev/null || status=1; done; \
	echo "The slowest tests:"; $(TOOL) gotestsum tool slowest --jsonfile=$(BIN)/e2e/tests.json --threshold=1s --num=10; \
	grep '^DONE' $(BIN)/e2e/output; exit $$status

vm-test: setup $(ARCHIVE) ## Demo and stops on an emulated Debian with systemd, cgroup v2 and AppArmor (QEMU); an hour or more
	test/vm/run.sh $(BIN) $(LOCAL_IMG) $(ARCHIVE)

FAULTS_MINUTES ?= 10
FAULTS_FLAGS = --kubeconfig=$(call LOCAL_KUBECONFIG,faults) --image=$(LOCAL_IMG) --helm=$(BIN)/helm --chart=$(1)$(CHART) --evidence=$(BIN)/faults \
	--minutes=$(FAULTS_MINUTES) --seed=$(or $(FAULTS_SEED),0) --only=$(FAULTS_ONLY) $(FAULTS_SET:%=--set=%)
# The cluster is always removed, also after a failure; the evidence remains in bin/faults.
faults: setup $(ARCHIVE) ## Inject faults while Jobs run, judge the result, and test the judge with a broken reaper; FAULTS_MINUTES=, FAULTS_SEED= repeats, KEEP=1 keeps the cluster
	$(call CLUSTER,faults) --audit=test/faults/audit.yaml up
	$(call CLUSTER,faults) load $(ARCHIVE)
	@status=0; go run ./test/faults $(FAULTS_FLAGS) || status=$$?; \
	[ -n "$(KEEP)" ] || $(call CLUSTER,faults) down >/dev/null; exit $$status

BENCH_SCALE ?= default
bench: setup build $(ARCHIVE) ## Benchmarks on a real API server; BENCH_SCALE=small|default|full, ROWS=kubelet,burst,... selects, KEEP=1 keeps it
	$(call CLUSTER,bench) --audit=test/bench/audit.yaml up
	@status=0; go run ./test/bench --kubeconfig=$(call LOCAL_KUBECONFIG,bench) --program=$(BIN)/essential-containers \
		--helm=$(BIN)/helm --chart=$(CHART) --image-archive=$(ARCHIVE) \
		--scale=$(BENCH_SCALE) --rows=$(ROWS) || status=$$?; \
	[ $$status != 0 ] || go -C test/bench/plots run . $(CURDIR)/bench/results.json $(CURDIR)/bench || status=$$?; \
	[ -n "$(KEEP)" ] || $(call CLUSTER,bench) down >/dev/null; exit $$status

run: build ## Run webhook and reaper here with the current kubeconfig (webhook: self-signed, not registered)
	BIN=$(BIN) test/run.sh
##@ Images and installation

$(ARCHIVE): # the image of the program built here, without a registry
	$(MAKE) --no-print-directory build
	rm -f $(BIN)/image-*.tar
	$(GO) run ./test/cluster image $(LOCAL_IMG) $(BIN)/essential-containers $@

docker-build: ## Build the image IMG; BUILD_ARGS="--build-arg=BUILDER=... --build-arg=BASE=..." for a mirror
	$(if $(filter buildah,$(CONTAINER_TOOL)),buildah bud --isolation=chroot,$(CONTAINER_TOOL) build) --build-arg=VERSION=$(VERSION) --tag=$(IMG) $(BUILD_ARGS) .

docker-push: ## Push the image IMG
	$(CONTAINER_TOOL) push $(IMG)

IMAGE_VALUES = $(shell echo '$(IMG)' | sed -E 's,^(([^/@]*/)*[^/:@]+)(:([^/@]+))?(@(.+))?$$,--set=image.repository=\1 --set-string=image.tag=\4 --set=image.digest=\6,; s,tag= --set=image.digest=$$,tag=latest,')

.PHONY: helm
helm: # needs no cluster
	$(call CLUSTER,demo) build-helm

deploy: helm ## Install or upgrade with Helm in the current kubeconfig's cluster, with IMG
	$(BIN)/helm upgrade --install $(RELEASE) $(CHART) --namespace=$(RELEASE) --create-namespace --reset-values --wait $(IMAGE_VALUES)

undeploy: helm ## Uninstall with Helm
	$(BIN)/helm uninstall $(RELEASE) --namespace=$(RELEASE) --wait

manifests: helm ## Render the chart to bin/manifests.yaml, for an installation without Helm
	{ printf 'apiVersion: v1\nkind: Namespace\nmetadata:\n  name: $(RELEASE)\n'; \
	  $(BIN)/helm template $(RELEASE) $(CHART) --namespace=$(RELEASE) $(IMAGE_VALUES); } > $(BIN)/manifests.yaml
	@echo "kubectl apply -f bin/manifests.yaml"

##@ The local cluster

cluster-up: ## Start a real Kubernetes on this machine
	$(call CLUSTER,demo) up

cluster-down: ## Stop it and remove everything that it left
	$(call CLUSTER,demo) down

clean: cluster-down ## Stop all clusters and remove bin/
	for name in e2e installation faults bench; do $(call CLUSTER,$$name) down || exit 1; done
	rm -rf $(BIN)

.PHONY: help demo test setup build lint unit fuzz chart-test e2e vm-test faults bench run docker-build docker-push deploy undeploy manifests cluster-up cluster-down clean
