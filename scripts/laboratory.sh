# shellcheck shell=bash
# Builds what boots in the virtual machines, and runs it. Sourced after lib.sh.
. "$(dirname "${BASH_SOURCE[0]}")/module.sh"

# cargo, on the laboratory's crates.
cargo() {
	local command=$1
	shift
	in_toolchain cargo "$command" --release --locked --manifest-path qemu-tests/Cargo.toml \
		--target-dir "$TOP/build/qemu-tests" "$@"
}

# Builds the runner and the guest. Sets runner.
programs() {
	mkdir -p "$TOP/build/qemu-tests"
	LOG=$TOP/build/qemu-tests/build.log step "Building the laboratory (a minute the first time)" cargo build
	runner=$TOP/build/qemu-tests/release/runner
}

# Builds the guest for an arm64 kernel, against the libraries of its userland.
arm64_guest() {
	LOG=$TOP/build/qemu-tests/guest.log step "Building the guest for the kernel's architecture" \
		in_toolchain env CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
		RUSTFLAGS="--sysroot=$kernel/userland/usr" cargo build --release --locked --package guest \
		--target aarch64-unknown-linux-gnu --manifest-path qemu-tests/Cargo.toml --target-dir "$TOP/build/qemu-tests"
}

# Lays out a kernel of the user's own (KDIR, VMLINUZ) as scripts/kernel does a stock one. Sets kernel.
lay_out_kernel() {
	[ -n "${VMLINUZ:-}" ] || die "KDIR=$KDIR names what to build for; VMLINUZ=<its bzImage or vmlinuz> names what to boot"
	[ -e "$VMLINUZ" ] || die "there is no VMLINUZ=$VMLINUZ"
	kernel=$TOP/build/$release/kernel
	rm -rf "$kernel"
	mkdir -p "$kernel/modules/lib/modules"
	ln -s "$(realpath "$KDIR")" "$kernel/kdir"
	cp "$VMLINUZ" "$kernel/vmlinuz"
	if [ -e "$KDIR/modules.order" ]; then # a folder in which the kernel was compiled
		LOG=$TOP/build/$release/modules_install.log step "Collecting the modules of $release" \
			make -C "$KDIR" INSTALL_MOD_PATH="$kernel/modules" INSTALL_MOD_STRIP=1 modules_install
	else
		[ -e "/lib/modules/$release/modules.dep" ] || die "the modules of $release are not installed"
		LOG=$TOP/build/$release/modules_install.log step "Copying the modules of $release" \
			cp -a "/lib/modules/$release" "$kernel/modules/lib/modules/"
	fi
}

# Builds the module and everything that its tests boot: runner and guest, and what gets in the module's way, a module and
# a BPF program.
laboratory() {
	modules
	if [ -n "${KDIR:-}" ]; then lay_out_kernel; fi
	# The runner looks for them beside the module.
	build_module holder "$kdir" "${module%/*}" "$TOP"/qemu-tests/holder/*
	in_toolchain clang -target bpf -g -O2 -Wall -c qemu-tests/fentry/fentry.c -o "${module%/*}/fentry.o"
	programs
	if [ -e "$kernel/userland" ]; then arm64_guest; fi
}

# run ACTION...: has the runner do something with the kernel and the module.
run() {
	local action=$1
	shift
	in_toolchain "$runner" "$action" --kernel "$kernel" --module "$module" "$@"
}
