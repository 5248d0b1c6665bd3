# The entry point: `make help` lists the targets. Each target installs what it needs.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# A stock kernel of the archive, as `uname -r` prints it.
KERNEL ?=
# Instead, a kernel directory of your own, and its binary to boot.
KDIR ?=
VMLINUZ ?=
# RUST=own builds the module self-contained even for a kernel with a usable kernel crate.
RUST ?=
# `make install` installs below this directory, and then does not run depmod.
DESTDIR ?=
# The cases of `make test`: patterns, matched anywhere in a case's name, separated by commas.
CASE ?=
# The cluster of `make demo` and `make shell`: a pattern, like CASE. The machine of it that `make shell` is on.
CLUSTER ?=
ON ?=
# `make bench`: UPDATE=1 replaces the committed figures, QUICK=1 measures only the smallest host. `make demo`: UPDATE=1
# puts the session into README.md.
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
	@echo "  KERNEL=<release>  another stock kernel of the archive, of any suite (default: the newest cloud kernel of"
	@echo "                    the backports), or one of our own: 'debug' (KASAN, lockdep, kmemleak) or 'hardened'"
	@echo "  KDIR=<dir>        your own kernel directory instead (modules, install, test, demo, shell)"
	@echo "  VMLINUZ=<file>    the binary of that kernel, to boot (test, demo, shell)"
	@echo "  RUST=own          build the module self-contained, as for kernels without Rust"
	@echo "  CASE=<pattern>    only the cases whose name contains the pattern; commas separate several"
	@echo "  CLUSTER=<pattern> a cluster of Documentation/clusters/: tun, dummy, ... (demo, shell)"
	@echo "  ON=<machine>      the machine of that cluster to have a shell on (shell; default rs1)"
	@echo "  UPDATE=1          put the new figures into Documentation/ (bench), the session into README.md (demo)"
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
install: ## build for the running kernel (or KDIR) and install, below DESTDIR if it is set
	@scripts/build install

.PHONY: uninstall
uninstall: ## remove what `make install` installed, except an edited sysctl.d file
	@scripts/build uninstall

.PHONY: demo
demo: ## show an LVS/DR cluster of virtual machines, without the module and with it
	@scripts/run demo

.PHONY: shell
shell: ## open a shell in a virtual machine: LVS/DR as namespaces, or a machine of CLUSTER=<pattern>
	@scripts/run shell

.PHONY: test
test: ## run lint, unit tests, the cases on four kernels (newest, real-time, stable, debug), all cluster recipes
	@scripts/test test

.PHONY: check
check: ## run the cases on the running kernel, leave the machine as it was; build/check-report.txt
	@scripts/test check

.PHONY: test-install
test-install: ## install, upgrade and purge the packages on a Debian system that boots (CASE=<pattern>)
	@scripts/test-install

.PHONY: test-matrix
test-matrix: ## run every case on every kernel that the module supports
	@scripts/test matrix

.PHONY: test-selftests
test-selftests: ## run the kernel's own networking tests, without the module, with it, and with its flags set
	@scripts/test selftests

.PHONY: fuzz
fuzz: ## run the frame parser under libFuzzer
	@scripts/fuzz $(RUNS)

.PHONY: bench
bench: ## count instructions per event; compare with the kernel's own means and the committed figures
	@scripts/run bench

.PHONY: bench-table
bench-table: ## print the committed figures as tables
	@scripts/run bench-table

.PHONY: soak
soak: ## run random operations and compare with the reference model
	@scripts/run soak

.PHONY: lint
lint: ## run rustfmt, clippy, rustdoc and shellcheck; warnings are errors
	@scripts/lint lint

.PHONY: doc
doc: ## build the module's documentation: build/doc/arp_hidden/index.html
	@scripts/lint doc

.PHONY: clean
clean: ## remove what was built in this checkout, but not the cache
	rm -rf build
