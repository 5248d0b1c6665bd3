# shellcheck shell=bash
# What a kernel must have for the module, and the Rust metadata that Debian's headers packages lack. Sourced by
# scripts/build, scripts/kernel and, on a server, debian/dkms-build; who sources it has a die().

# check_kernel KDIR: ends with one line if the module cannot be built for the kernel of KDIR, or not here.
check_kernel() {
	local kdir=$1 conf=$1/include/config/auto.conf option tool wanted found
	[ -e "$conf" ] || die "$kdir is not configured: run 'make olddefconfig prepare' in the kernel tree"
	for option in RUST MODULES INET SYSCTL NETFILTER_FAMILY_ARP DYNAMIC_FTRACE_WITH_ARGS; do
		grep -qx "CONFIG_$option=y" "$conf" ||
			die "the kernel of $kdir lacks CONFIG_$option: the module needs a kernel that has it"
	done
	for tool in rustc bindgen; do
		command -v $tool >/dev/null || die "$tool is missing: install the version that the kernel was built with"
	done
	# Newer kernels write it without quotes.
	wanted=$(sed -n 's/^CONFIG_RUSTC_VERSION_TEXT="\?\([^"]*\)"\?$/\1/p' "$conf")
	found=$(rustc --version)
	[ "${wanted%% (*}" = "${found%% (*}" ] ||
		die "the kernel of $kdir was built with '$wanted', here is '$found': install that rustc"
}

# unpack_source TARBALL SRC: what of the kernel's source compose() has a use for, which is less than half of it.
unpack_source() {
	mkdir -p "$2"
	tar -xf "$1" -C "$2" --strip-components=1 --exclude='*/drivers/*.c' --exclude='*/sound/*.c' --exclude='*/fs/*.c' \
		--exclude='*/dts/*' --exclude='*/tools/testing/*' --exclude='*/Documentation/*/*' \
		--exclude='*/drivers/gpu/drm/amd/*.h'
}

# link_headers HEADERS COMMON KDIR: makes KDIR of links to an unpacked headers package and the one that it shares with
# the other flavours. The packages' own Makefile names the folder that they are installed in.
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
# package, and adds it to KDIR. The headers stay untouched. Works in the current folder, in obj/.
compose() {
	local src=$1 headers=$2 kdir=$3 obj=$PWD/obj arch cc
	arch=$(sed -n 's/^override ARCH = //p' "$headers/.kernelvariables")
	cc=$(sed -n 's/^CONFIG_CC_VERSION_TEXT="\([^ ]*\) .*/\1/p' "$headers/.config")
	mkdir -p "$obj" "$kdir/rust"
	cp "$headers/.config" "$obj/.config"
	# The compiler is TRIPLET-gcc-VERSION.
	make -C "$src" O="$obj" ARCH="$arch" CROSS_COMPILE="${cc%gcc-*}" CC="$cc" HOSTCC="gcc-${cc##*-}" -j"$(nproc)" \
		olddefconfig prepare
	# Metadata of another compiler than the kernel's would give a module that does not load.
	diff <(grep '^CONFIG_RUST' "$headers/.config") <(grep '^CONFIG_RUST' "$obj/.config")
	# Of an architecture for which rustc has a target of its own, there is no target.json.
	[ ! -e "$obj/scripts/target.json" ] || cp "$obj/scripts/target.json" "$kdir/scripts/"
	cp "$obj"/rust/*.rmeta "$obj"/rust/*.so "$kdir/rust/"
	cp "$src/.rustfmt.toml" "$src/.clippy.toml" "$kdir/"
}
