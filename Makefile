# The entry point: `make help` lists the targets. Each target installs what it needs.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# A stock kernel of the archive (as uname -r prints it), or a kernel directory of your own.
KERNEL ?=
KDIR ?=
# `own`: the module brings a kernel crate with it, also for a kernel that has one.
RUST ?=
# Below which folder `make install` installs; then it leaves depmod to whoever takes the files from there.
DESTDIR ?=
# Which cases `make test` runs: patterns, matched anywhere in a case's name, separated by commas.
CASE ?=
# Which cluster `make demo` shows: a pattern, as CASE.
CLUSTER ?=
# `make bench UPDATE=1` commits to the new figures; QUICK=1 measures the smallest host only.
UPDATE ?=
QUICK ?=
# `make soak`: the first seed, and how many operations.
SEED ?= 1000
STEPS ?= 10000

# `make fuzz`: how many inputs.
RUNS ?= 100000000

export KERNEL KDIR RUST DESTDIR CASE CLUSTER UPDATE QUICK SEED STEPS RUNS

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  KERNEL=<release>  another stock kernel of the archive, of any suite; the default is the newest cloud kernel"
	@echo "                    of the backports; 'debug' is one of our own with KASAN, lockdep, kmemleak,"
	@echo "                    'hardened' one with kCFI, IBT, MODVERSIONS, signed modules and lockdown"
	@echo "  KDIR=<dir>        build for a kernel directory of your own instead (modules only)"
	@echo "  RUST=own          build the module self-contained, as for kernels without Rust"
	@echo "  CASE=<pattern>    run only the cases whose name has it; commas separate several"
	@echo "  CLUSTER=<pattern> another cluster of Documentation/clusters/ (demo only): tun, dummy, ..."
	@echo "  UPDATE=1          put the new figures into Documentation/ (bench only)"
	@echo "  QUICK=1           measure the smallest host only (bench only)"
	@echo "  RUNS=<number>     how many inputs (fuzz only; default $(RUNS))"
	@echo "  SEED=<number>     the seed to begin with (soak only; default $(SEED))"
	@echo "  STEPS=<number>    how many operations (soak only; default $(STEPS))"

.PHONY: modules
modules: ## build the module: build/<release>/arp_hidden.ko
	@scripts/build modules

.PHONY: deb
deb: ## build the Debian packages: build/deb/
	@scripts/build deb

.PHONY: install
install: ## build for the running kernel (or KDIR) and install, below DESTDIR if it is set
	@scripts/build install

.PHONY: uninstall
uninstall: ## remove what `make install` installed, except an edited sysctl.d file
	@scripts/build uninstall

.PHONY: demo
demo: ## show an LVS/DR cluster of virtual machines, without the module and with it
	@scripts/build demo

.PHONY: test
test: ## run lint, unit tests, the cases on four kernels (newest, real-time, stable, debug), all cluster recipes
	@scripts/build test

.PHONY: check
check: ## run the cases on the running kernel, leave the machine as it was; build/check-report.txt
	@scripts/build check

.PHONY: test-install
test-install: ## install, upgrade and purge the packages on a Debian system that boots (CASE=<pattern>)
	@scripts/build test-install

.PHONY: test-matrix
test-matrix: ## run every case on every kernel that the module supports
	@scripts/build matrix

.PHONY: test-selftests
test-selftests: ## run the kernel's own networking tests, without the module, with it, and with its flags set
	@scripts/build selftests

.PHONY: fuzz
fuzz: ## run the frame parser under libFuzzer
	@scripts/build fuzz

.PHONY: bench
bench: ## count instructions per event; compare with the kernel's own means and the committed figures
	@scripts/build bench

.PHONY: bench-table
bench-table: ## print the committed figures as tables
	@scripts/build bench-table

.PHONY: soak
soak: ## run random operations and compare with the reference model
	@scripts/build soak

.PHONY: lint
lint: ## run rustfmt, clippy, rustdoc and shellcheck; warnings are errors
	@scripts/build lint

.PHONY: doc
doc: ## build the module's documentation: build/doc/arp_hidden/index.html
	@scripts/build doc

.PHONY: clean
clean: ## remove what was built in this checkout, but not the cache
	rm -rf build
