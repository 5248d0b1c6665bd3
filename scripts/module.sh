# shellcheck shell=bash
# Builds the module for a stock kernel (KERNEL), or for a kernel directory of the user's own (KDIR). Sourced after lib.sh.
. "$(dirname "${BASH_SOURCE[0]}")/metadata.sh"

in_toolchain() { "$TOP/scripts/toolchain" "$@"; }

# Runs a command with the compilers that the kernel was built with: those of the build environment, or with KDIR the
# user's own.
in_compilers() {
	if [ -n "${KDIR:-}" ]; then "$@"; else SUITE=$suite in_toolchain "$@"; fi
}

# Sets kernel, the folder in the cache of the kernel that KERNEL names; suite, the environment with its compilers; and
# cross, the prefix of these if it is for another architecture: Debian 12's headers do not have it.
find_kernel() {
	suite=$(in_toolchain env KERNEL="${KERNEL:-}" scripts/kernel environment)
	kernel=$(SUITE=$suite in_toolchain env KERNEL="${KERNEL:-}" scripts/kernel)
	[ ! -e "$kernel/userland" ] || cross=aarch64-linux-gnu-
}

# Sets crates, the folder with the sources for a self-contained build. With KDIR, whatever the cache has will do, so
# that no build environment is needed.
find_crates() {
	crates=$(compgen -G "$CACHE/crates/*/complete" | sort -V | tail -n 1) || true
	crates=${crates%/complete}
	[ -n "${KDIR:-}" ] && [ -n "$crates" ] || crates=$(in_toolchain scripts/crates)
}

# release_of KDIR: prints the kernel's release as uname -r does. Debian 12 has another in config/kernel.release.
release_of() { sed -n 's/^#define UTS_RELEASE "\(.*\)"$/\1/p' "$1/include/generated/utsrelease.h"; }

# build_module NAME KDIR OUT SOURCE...: builds a module, as OUT/NAME.ko. Before 6.13, Kbuild writes its output beside the
# sources, so these are linked into OUT.
build_module() {
	local name=$1 kdir=$2 out=$3
	shift 3
	mkdir -p "$out/$name"
	cp -rsf "$@" "$out/$name/"
	LOG=$out/$name.log step "Building $name.ko for ${out#"$TOP"/build/}" \
		in_compilers make -C "$kdir" M="$out/$name" ${crates:+CRATES="$crates"} ${RUSTC:+RUSTC="$RUSTC"} \
		${BINDGEN:+BINDGEN="$BINDGEN"} ${CC:+CC="$CC"} ${cross:+CROSS_COMPILE="$cross"} -j"$(nproc)" modules
	if grep 'warning: objtool:' "$out/$name.log" >&2; then
		rm -r "${out:?}/$name"
		die "objtool's warnings are errors here; the whole output is in $out/$name.log"
	fi
	cp "$out/$name/$name.ko" "$out/$name.ko"
	# As modules_install does: with the key of a kernel that was built here.
	if grep -qx CONFIG_MODULE_SIG_FORCE=y "$kdir/include/config/auto.conf" && [ -e "$kdir/certs/signing_key.pem" ]; then
		in_compilers "$kdir/scripts/sign-file" sha256 "$kdir"/certs/signing_key.{pem,x509} "$out/$name.ko"
	fi
}

# Builds arp_hidden.ko. Sets kdir, release, module and, with KERNEL, kernel.
modules() {
	local out crates=''
	if [ -n "${KDIR:-}" ]; then
		kdir=$KDIR
		[ -e "$kdir/Makefile" ] || die "KDIR=$kdir is not a kernel directory: install your kernel's headers or devel package"
	else
		find_kernel
		kdir=$kernel/kdir
	fi
	release=$(release_of "$kdir")
	out=$TOP/build/$release
	[ "${RUST:-}" != own ] || out=$out/own
	if [ "${RUST:-}" = own ] || lacks_crate "$kdir"; then find_crates; fi
	if [ -n "${KDIR:-}" ]; then
		check_kernel "$kdir" "$crates"
		[ -n "$crates" ] || check_metadata "$kdir"
	fi
	build_module arp_hidden "$kdir" "$out" "$TOP"/{Kbuild,own,src}
	module=$out/arp_hidden.ko
	in_compilers "$TOP/scripts/check-branches" "$kdir" "$module"
	say "Module: ${module#"$TOP"/}"
}

# Builds the Debian packages, for the stock kernel that KERNEL names. Their maintainer is DEBFULLNAME and DEBEMAIL, as
# for Debian's own tools, or else the author of the last commit.
packages() {
	local maintainer KDIR=''
	maintainer=${DEBEMAIL:+${DEBFULLNAME:-} <$DEBEMAIL>}
	[ -n "$maintainer" ] || maintainer=$(git -C "$TOP" log -1 --format='%an <%ae>') ||
		die "not a git checkout: set DEBFULLNAME and DEBEMAIL to the packages' maintainer"
	modules
	in_toolchain scripts/deb "$release" "$module" "$maintainer"
}
