# `make help` lists the targets. Each target installs what it needs.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# A stock kernel of the archive, as `uname -r` prints it; or a kernel directory of your own, and its binary to boot.
KERNEL ?=
KDIR ?=
VMLINUZ ?=
# RUST=own builds the module self-contained even for a kernel with a usable kernel crate.
RUST ?=
# `make install` installs below this directory, and then does not run depmod.
DESTDIR ?=
# The cases of `make test`: patterns, separated by commas. A case runs if its name contains one of them.
CASE ?=
# The cluster of `make demo` and `make shell`, a pattern like CASE, and the machine that `make shell` opens a shell on.
CLUSTER ?=
ON ?=
# UPDATE=1 replaces the committed figures (`make bench`) or the session in README.md (`make demo`). QUICK=1 measures only
# the smallest host (`make bench`).
UPDATE ?=
QUICK ?=
# `make soak`: the first seed, and the number of operations.
SEED ?= 1000
STEPS ?= 10000
# `make fuzz`: the number of inputs.
RUNS ?= 100000000

export KERNEL KDIR VMLINUZ RUST DESTDIR CASE CLUSTER ON UPDATE QUICK SEED STEPS RUNS

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "  KERNEL=<release>  another stock kernel from any suite of the archive (default: the newest cloud kernel of"
	@echo "                    the backports), or one of our own: 'debug' (KASAN, lockdep, kmemleak) or 'hardened'"
	@echo "  KDIR=<dir>        a kernel directory of your own instead (modules, install, test, demo, shell)"
	@echo "  VMLINUZ=<file>    the binary of that kernel, to boot (test, demo, shell)"
	@echo "  RUST=own          build the module self-contained, as for kernels without Rust"
	@echo "  CASE=<pattern>    run only the cases whose name contains the pattern; separate several with commas"
	@echo "  CLUSTER=<pattern> a cluster of Documentation/clusters/: tun, dummy, ... (demo, shell)"
	@echo "  ON=<machine>      the machine of that cluster to open a shell on (shell; default rs1)"
	@echo "  UPDATE=1          write the figures to Documentation/ (bench), the session to README.md (demo)"
	@echo "  QUICK=1           measure only the smallest host (bench)"
	@echo "  RUNS=<number>     number of inputs (fuzz; default $(RUNS))"
	@echo "  SEED=<number>     first seed (soak; default $(SEED))"
	@echo "  STEPS=<number>    number of operations (soak; default $(STEPS))"

.PHONY: modules
modules: ## build the module: build/<release>/arp_hidden.ko
	@scripts/build modules

.PHONY: deb
deb: ## build the Debian packages: build/deb/
	@scripts/build deb

.PHONY: install
install: ## build the module for the running kernel (or KDIR) and install it (below DESTDIR)
	@scripts/build install

.PHONY: uninstall
uninstall: ## remove what `make install` installed, but keep an edited sysctl.d file
	@scripts/build uninstall

.PHONY: demo
demo: ## boot an LVS/DR cluster of virtual machines and compare it without and with the module
	@scripts/run demo

.PHONY: shell
shell: ## open a shell in a virtual machine: a cluster as namespaces, or one machine of CLUSTER=<pattern>
	@scripts/run shell

.PHONY: test
test: ## run lint, unit tests, and the cases on four kernels: newest, real-time, stable, debug
	@scripts/test test

.PHONY: check
check: ## run the cases on the running kernel and write build/check-report.txt
	@scripts/test check

.PHONY: test-install
test-install: ## install, upgrade and purge the packages on a Debian system that boots
	@scripts/test-install

.PHONY: test-matrix
test-matrix: ## run every case on every kernel that the module supports
	@scripts/test matrix

.PHONY: test-selftests
test-selftests: ## run the kernel's own networking tests without the module, with it, and with its flags set
	@scripts/test selftests

.PHONY: fuzz
fuzz: ## run the frame parser under libFuzzer
	@scripts/fuzz $(RUNS)

.PHONY: bench
bench: ## count instructions per event; compare with the alternatives and with the committed figures
	@scripts/run bench

.PHONY: bench-table
bench-table: ## print the committed figures as tables
	@scripts/run bench-table

.PHONY: soak
soak: ## run random operations on a host and compare it with the reference model
	@scripts/run soak

.PHONY: lint
lint: ## run rustfmt, clippy, rustdoc, shellcheck and the check of imports; warnings are errors
	@scripts/lint lint

.PHONY: doc
doc: ## build the module's documentation: build/doc/arp_hidden/index.html
	@scripts/lint doc

.PHONY: clean
clean: ## remove build/, but not the cache
	rm -rf build
