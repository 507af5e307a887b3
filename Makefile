# `make help` lists what there is to make.
SHELL   := /bin/bash
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TOOLS   := .cache/tools
CONSUL  := $(TOOLS)/consul-1.22.7/consul
CT      := $(TOOLS)/consul-template-0.41.1/consul-template
LINT    := $(TOOLS)/golangci-lint-2.15.0/golangci-lint
SBOM    := $(TOOLS)/cyclonedx-gomod-1.10.0/cyclonedx-gomod
VULN    := $(TOOLS)/govulncheck-1.9.0/govulncheck
NFPM    := $(TOOLS)/nfpm-2.45.2/nfpm
BROWSER := $(TOOLS)/playwright-core-1.61.1/package.json

.PHONY: help build sbom man share deb demo test bench bench-failover bench-lag chaos storm record screenshots recording lint vuln fuzz tools clean packages
help: ## what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# Nothing of where and when it is built is in it: the same source, VERSION and Go make the same bytes.
build: ## bin/pgbaton, static and stripped
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=$(VERSION)' -o bin/pgbaton ./cmd/pgbaton

sbom: build $(SBOM) ## bin/pgbaton.cdx.json: what bin/pgbaton is made of, as CycloneDX
	$(SBOM) bin -json -std -noserial -notimestamp -version $(VERSION) -output bin/pgbaton.cdx.json bin/pgbaton

# Of the day when its source was committed, not of the day when it is made; a fixed one
# where there is no git.
man share deb: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 1767225600)
man: build ## bin/man: a man page for each verb
	bin/pgbaton docs -man bin/man

share deb: export MAINTAINER := The pgbaton authors <pgbaton@users.noreply.github.com>
share deb: export DEB_VERSION = $(shell packaging/version.sh '$(VERSION)')
share deb: export ARCH = $(shell go env GOARCH)
share: man ## bin/share: manual pages, completions, the changelog, the licences of all that bin/pgbaton is made of
	@packaging/share.sh

deb: share $(NFPM) ## bin/pgbaton_VERSION_ARCH.deb: the program, a unit, a config to edit
	$(NFPM) package -f packaging/nfpm.yaml -p deb -t bin/pgbaton_$(DEB_VERSION)_$(ARCH).deb

demo: ## a simulated cluster whose leader moves, on an embedded store; needs Go alone
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT INT TERM HUP && go build -o "$$dir/pgbaton" ./cmd/pgbaton && "$$dir/pgbaton" demo

test: packages $(CONSUL) $(CT) $(SBOM) $(VULN) $(NFPM) $(BROWSER) ## all tests against real servers, installed if missing (Debian, root); PKG=./watcher/... for some
	@integration/test.sh $(or $(PKG),./...)

bench: $(CONSUL) $(CT) ## leader key to SIGHUP: the floor, consul-template and pgbaton side by side (about 20 minutes); RUN="60 on" for some
	@integration/bench.sh

bench-failover: packages $(CONSUL) $(CT) ## what clients see when the leader changes, beside what they use today (Debian, root, 15 minutes); RUN=hang/pgbaton ROUNDS=1 for some
	@integration/failover.sh

bench-lag: packages $(CONSUL) ## for how long readers are served by a replica that lags, and what it costs to ask a hundred members (Debian, root, 5 minutes); RUN=TestCost for some
	@integration/lag.sh

ROUNDS ?= 3
chaos: packages $(CONSUL) $(CT) ## break it in every way of docs/reliability.md, ROUNDS times (Debian, root, 15 minutes), and write that page anew
	@integration/chaos.sh $(ROUNDS)

STEPS ?= 10000
storm: packages $(CONSUL) ## break it by chance, STEPS times, and see that planted bugs are found (Debian, root, an hour); writes docs/reliability.md
	@integration/storm.sh $(STEPS)

record: packages $(CONSUL) ## write the decoders' test data anew, from a real Patroni (Debian, root)
	go test -tags record -count=1 -timeout 20m -v ./integration/record

screenshots: packages $(CONSUL) $(BROWSER) ## take the pictures of the status page anew, of a real pgbaton (Debian, root)
	@SCREENSHOTS=$(abspath docs/screenshots) integration/test.sh -run 'TestPage$$' ./integration

recording: ## record the demo anew, as docs/demo.svg (asciinema, npm)
	@integration/recording.sh

lint: $(LINT) ## golangci-lint, as .golangci.yml says
	$(LINT) run ./...

vuln: $(VULN) ## known vulnerabilities in what pgbaton calls; says so if the database (GOVULNDB) can't be had
	@integration/vuln.sh $(VULN) ./...

FUZZTIME ?= 20s
fuzz: ## each fuzz test for FUZZTIME
	@set -e; for pkg in $$(go list ./...); do \
	  for name in $$(go test -list '^Fuzz' $$pkg | grep ^Fuzz); do \
	    go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) $$pkg; \
	  done; \
	done

tools: $(CONSUL) $(CT) $(LINT) $(SBOM) $(VULN) $(NFPM) $(BROWSER) ## the servers and tools that are built from source, into .cache

packages:
	@integration/install.sh

clean: ## remove what was built; the cache of tools stays
	rm -rf bin

# Each is built beside its place and then moved: an interrupted build leaves nothing that looks whole.
$(CONSUL):
	@echo "building consul, 5 minutes the first time"
	@mkdir -p $(@D)
	cd integration/tools && CGO_ENABLED=0 go build -trimpath -ldflags '-s -w' -o $(abspath $@).new github.com/hashicorp/consul
	@mv $@.new $@

$(CT):
	@mkdir -p $(@D)
	GOBIN=$(abspath $(@D))/new go install github.com/hashicorp/consul-template@v0.41.1
	@mv $(@D)/new/consul-template $@ && rmdir $(@D)/new

$(LINT):
	@mkdir -p $(@D)
	GOBIN=$(abspath $(@D))/new go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
	@mv $(@D)/new/golangci-lint $@ && rmdir $(@D)/new

$(SBOM):
	@mkdir -p $(@D)
	GOBIN=$(abspath $(@D))/new go install github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
	@mv $(@D)/new/cyclonedx-gomod $@ && rmdir $(@D)/new

$(NFPM):
	@mkdir -p $(@D)
	GOBIN=$(abspath $(@D))/new go install github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.45.2
	@mv $(@D)/new/nfpm $@ && rmdir $(@D)/new

$(VULN):
	@mkdir -p $(@D)
	GOBIN=$(abspath $(@D))/new go install golang.org/x/vuln/cmd/govulncheck@v1.9.0
	@mv $(@D)/new/govulncheck $@ && rmdir $(@D)/new

$(BROWSER):
	@rm -rf $(@D) $(@D).new && mkdir -p $(@D).new
	@cp integration/web/package.json integration/web/package-lock.json $(@D).new
	cd $(@D).new && npm ci --loglevel=error --ignore-scripts --no-audit --no-fund
	@mv $(@D).new $(@D)
