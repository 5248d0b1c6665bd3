# shellcheck shell=bash
# Checks that a kernel can have the module, and restores the Rust metadata that Debian's headers packages lack. Sourced by
# scripts/module.sh, scripts/kernel and, on a server, debian/dkms-build, which define die().

# The oldest kernel whose kernel crate the module can use: module! takes parameters since then.
OLDEST_CRATE=6.19

older() { [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

# lacks_crate KDIR: whether the module must be self-contained, because the kernel has no Rust or its crate is too old.
lacks_crate() {
	! grep -qx CONFIG_RUST=y "$1/include/config/auto.conf" ||
		older "$(<"$1/include/config/kernel.release")" $OLDEST_CRATE
}

# check_kernel KDIR [CRATES]: dies with one line unless the module can be built for the kernel of KDIR with the compilers
# that are installed. With CRATES, the folder that scripts/crates prints, checks for the self-contained build.
check_kernel() {
	local kdir=$1 crates=${2:-} conf=$1/include/config/auto.conf option tool wanted found
	[ -e "$conf" ] || die "$kdir is not configured: run 'make olddefconfig prepare' in the kernel tree"
	for option in MODULES INET SYSCTL NETFILTER_FAMILY_ARP; do
		grep -qx "CONFIG_$option=y" "$conf" ||
			die "the kernel of $kdir lacks CONFIG_$option: the module needs a kernel that has it"
	done
	grep -qxE 'CONFIG_DYNAMIC_FTRACE_WITH_(ARGS|REGS)=y' "$conf" ||
		die "the kernel of $kdir lacks CONFIG_DYNAMIC_FTRACE_WITH_ARGS: the module needs a kernel that has it"
	wanted=$(compiler_of "$conf" CC)
	case $wanted in
	*clang*) tool=clang ;;
	*) tool=${wanted%% *} ;;
	esac
	tool=${CC:-$tool}
	command -v "$tool" >/dev/null || die "$tool is missing: the kernel of $kdir was built with '$wanted'; CC= names another"
	for tool in "${RUSTC:-rustc}" "${BINDGEN:-bindgen}"; do
		command -v "$tool" >/dev/null || die "$tool is missing: install it; RUSTC= and BINDGEN= name another"
	done
	if [ -n "$crates" ]; then
		check_tools "$crates"
		# These change layouts or calls in ways that the self-contained build does not follow.
		for option in RANDSTRUCT GCC_PLUGIN_RANDSTRUCT CFI CFI_CLANG LTO_CLANG KASAN_SW_TAGS; do
			! grep -qx "CONFIG_$option=y" "$conf" ||
				die "the kernel of $kdir has CONFIG_$option: a self-contained module cannot be built for it"
		done
		return
	fi
	lacks_crate "$kdir" &&
		die "the kernel crate of $kdir is too old or missing: the oldest that the module can use is $OLDEST_CRATE's"
	wanted=$(compiler_of "$conf" RUSTC)
	found=$("${RUSTC:-rustc}" --version)
	[ "${wanted%% (*}" = "${found%% (*}" ] ||
		die "the kernel of $kdir was built with '$wanted', here is '$found': install that rustc, or name it with RUSTC="
}

# compiler_of CONF CC|RUSTC: prints the version line of the compiler that the kernel was built with. Newer kernels write
# rustc's without quotes.
compiler_of() { sed -n "s/^CONFIG_${2}_VERSION_TEXT=\"\?\([^\"]*\)\"\?$/\1/p" "$1"; }

# check_tools CRATES: dies with one line if rustc or bindgen is older than the crates allow, or rust-src is missing.
check_tools() {
	local name tool wanted found
	for name in rustc bindgen; do
		tool=${RUSTC:-rustc}
		[ $name = rustc ] || tool=${BINDGEN:-bindgen}
		wanted=$(sh "$1/scripts/min-tool-version.sh" $name)
		found=$("$tool" --version | cut -d' ' -f2)
		! older "$found" "$wanted" || die "$tool is $found, and $wanted is needed: install a newer one, or name it with ${name^^}="
	done
	[ -e "$("${RUSTC:-rustc}" --print sysroot)/lib/rustlib/src/rust/library/core/src/lib.rs" ] ||
		die "the source of Rust's core is missing: install rust-src"
}

# check_metadata KDIR: dies with one line that names the package to install if the kernel's Rust metadata is missing.
check_metadata() {
	local package
	[ ! -e "$1/rust/libkernel.rmeta" ] || return 0
	case $(compiler_of "$1/include/config/auto.conf" CC) in
	*Ubuntu*) package="install linux-lib-rust-$(<"$1/include/config/kernel.release")" ;;
	*Debian*) package="'make deb' makes packages that restore it" ;;
	*'Red Hat'*) package="install the whole of kernel-devel" ;;
	*) package="install the kernel's complete devel package" ;;
	esac
	die "$1 lacks the Rust metadata (rust/libkernel.rmeta): $package, or build with RUST=own"
}

# unpack_source TARBALL SRC: unpacks the part of the kernel's source that compose() needs, less than half of it.
unpack_source() {
	mkdir -p "$2"
	tar -xf "$1" -C "$2" --strip-components=1 --exclude='*/drivers/*.c' --exclude='*/sound/*.c' --exclude='*/fs/*.c' \
		--exclude='*/dts/*' --exclude='*/tools/testing/*' --exclude='*/Documentation/*/*' \
		--exclude='*/drivers/gpu/drm/amd/*.h'
}

# link_headers HEADERS COMMON KDIR: makes KDIR of links to an unpacked headers package and to the one that the flavours
# share. It gets a Makefile of its own: the package's names the folder in which it is meant to be installed.
link_headers() {
	local headers=$1 common=$2 kdir=$3 entry
	mkdir -p "$kdir/scripts"
	for entry in .config .kernelvariables Module.symvers arch include tools vmlinux; do
		[ ! -e "$headers/$entry" ] || ln -s "$headers/$entry" "$kdir/$entry"
	done
	ln -s "$headers"/scripts/* "$kdir/scripts/"
	printf 'KBUILD_OUTPUT = %s\ninclude %s/Makefile\n' "$kdir" "$common" >"$kdir/Makefile"
}

# compose SRC HEADERS KDIR: builds the Rust metadata from the source tree SRC with the configuration of the headers
# package, and adds it to KDIR. Leaves the headers as they are. Builds in obj/ of the current folder.
compose() {
	local src=$1 headers=$2 kdir=$3 obj=$PWD/obj arch cc
	arch=$(sed -n 's/^override ARCH = //p' "$headers/.kernelvariables")
	cc=$(sed -n 's/^CONFIG_CC_VERSION_TEXT="\([^ ]*\) .*/\1/p' "$headers/.config")
	mkdir -p "$obj" "$kdir/rust"
	cp "$headers/.config" "$obj/.config"
	# The compiler is TRIPLET-gcc-VERSION.
	make -C "$src" O="$obj" ARCH="$arch" CROSS_COMPILE="${cc%gcc-*}" CC="$cc" HOSTCC="gcc-${cc##*-}" -j"$(nproc)" \
		olddefconfig prepare
	# With another compiler than the kernel's, the module would not load.
	diff <(grep '^CONFIG_RUST' "$headers/.config") <(grep '^CONFIG_RUST' "$obj/.config")
	# Architectures for which rustc has a target have no target.json.
	[ ! -e "$obj/scripts/target.json" ] || cp "$obj/scripts/target.json" "$kdir/scripts/"
	cp "$obj"/rust/*.rmeta "$obj"/rust/*.so "$kdir/rust/"
	cp "$src/.rustfmt.toml" "$src/.clippy.toml" "$kdir/"
}
