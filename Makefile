# One entry point. `make help` says what there is; every target installs what it needs by itself.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# A stock kernel of the archive (as uname -r prints it), or a kernel directory of your own, and its binary to boot.
KERNEL ?=
KDIR ?=
VMLINUZ ?=
# Below which folder `make install` installs; then it leaves depmod to whoever takes the files from there.
DESTDIR ?=
# Which cases `make test` runs: patterns, matched anywhere in a case's name, separated by commas.
CASE ?=
# Which cluster `make demo` shows and `make shell` boots: a pattern, as CASE. On which of its machines the shell is.
CLUSTER ?=
ON ?=
# `make bench UPDATE=1` commits to the new figures, `make demo UPDATE=1` puts its session into the README; `make bench
# QUICK=1` measures the smallest host only.
UPDATE ?=
QUICK ?=
# `make soak`: the first seed, and how many operations.
SEED ?= 1000
STEPS ?= 10000

# `make fuzz`: how many inputs.
RUNS ?= 100000000

export KERNEL KDIR VMLINUZ DESTDIR CASE CLUSTER ON UPDATE QUICK SEED STEPS RUNS

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  KERNEL=<release>  another stock kernel of the archive, of any suite; the default is the newest cloud kernel"
	@echo "                    of the backports; 'debug' is one of our own with KASAN, lockdep, kmemleak"
	@echo "  KDIR=<dir>        build for a kernel directory of your own instead (modules, install, test, demo, shell)"
	@echo "  VMLINUZ=<file>    the binary of that kernel, which the laboratory boots (test, demo, shell)"
	@echo "  CASE=<pattern>    run only the cases whose name has it; commas separate several"
	@echo "  CLUSTER=<pattern> a cluster of Documentation/clusters/ (demo, shell): tun, dummy, ..."
	@echo "  ON=<machine>      the machine of that cluster to have a shell on (shell only; default rs1)"
	@echo "  UPDATE=1          put the new figures into Documentation/ (bench), or the session into README.md (demo)"
	@echo "  QUICK=1           measure the smallest host only (bench only)"
	@echo "  RUNS=<number>     how many inputs (fuzz only; default $(RUNS))"
	@echo "  SEED=<number>     the seed to begin with (soak only; default $(SEED))"
	@echo "  STEPS=<number>    how many operations (soak only; default $(STEPS))"

.PHONY: modules
modules: ## build/<kernel release>/arp_hidden.ko
	@scripts/build modules

.PHONY: deb
deb: ## the Debian packages: build/deb/
	@scripts/build deb

.PHONY: install
install: ## build for the running kernel (or KDIR) and install, into DESTDIR if it is set
	@scripts/build install

.PHONY: uninstall
uninstall: ## remove what `make install` has installed, but a sysctl.d file that was edited
	@scripts/build uninstall

.PHONY: demo
demo: ## a cluster of virtual machines (LVS/DR), without the module and with it
	@scripts/build demo

.PHONY: shell
shell: ## a shell where the module is loaded: LVS/DR as namespaces, or a machine of CLUSTER=<pattern>; exit ends it
	@scripts/build shell

.PHONY: test
test: ## lint, unit tests, the cases on four kernels (newest, real-time, stable, debug), every cluster's recipe
	@scripts/build test

.PHONY: test-install
test-install: ## the packages on a Debian that boots: installed, upgraded, purged (CASE=<pattern>)
	@scripts/build test-install

.PHONY: test-matrix
test-matrix: ## every case on each flavour of the backports' two newest kernels and of Debian 13's and 12's own
	@scripts/build matrix

.PHONY: test-selftests
test-selftests: ## the kernel's own networking tests, without the module, with it, and with its flags on
	@scripts/build selftests

.PHONY: fuzz
fuzz: ## the frame parser under libFuzzer
	@scripts/build fuzz

.PHONY: bench
bench: ## instructions per event, against the kernel's own ways and the committed figures
	@scripts/build bench

.PHONY: soak
soak: ## random operations against the reference model, as many as one likes
	@scripts/build soak

.PHONY: lint
lint: ## rustfmt, clippy and shellcheck, warnings are errors
	@scripts/build lint

.PHONY: clean
clean: ## remove what was built in this checkout; the cache stays
	rm -rf build
