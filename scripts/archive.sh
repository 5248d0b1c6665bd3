# shellcheck shell=bash
# The archive of the stock kernels: which there are, and how to get them. Sourced after lib.sh, in the build
# environment.

# The flavour of the kernel that is taken if none is named.
export FLAVOUR=cloud-amd64

# The archive's lists are fetched again when they are a day old; without a network the old ones serve.
refresh_lists() {
	local stamp=/var/lib/apt/lists/.refreshed
	[ -n "$(find $stamp -mmin -1440 2>/dev/null)" ] && return
	if apt-get update >"$CACHE/apt.log" 2>&1; then
		touch $stamp
	else
		[ -e $stamp ] || die "cannot fetch the archive's package lists, see $CACHE/apt.log; is there a network?"
		say "cannot refresh the archive's package lists, using those of $(date -r $stamp +%F)"
	fi
}

# The newest release (as uname -r prints it) of flavour $1.
newest_release() {
	apt-cache show "linux-headers-$1/trixie-backports" |
		sed -n "s/^Depends:.*linux-headers-\([0-9][^ ]*-$1\) .*/\1/p"
}

# The newest releases of flavour $1 in the backports, one of each of the two newest series, the newest first.
newest_of_two_series() {
	apt-cache search --names-only "^linux-headers-[0-9][^-]*-$1$" | sed 's/^linux-headers-\([^ ]*\) .*/\1/' |
		while read -r found; do
			# A backport's version says so; the stable release's own kernels have no Rust.
			[[ $(version_of "linux-headers-$found") != *~bpo* ]] || echo "$found"
		done | sort -rV | awk -F. '!seen[$1 "." $2]++' | head -n 2
}

# The version of package $1 that the archive would give.
version_of() { apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n 's/^Version: //p'; }

# The source package of release $1.
source_of() { echo "linux-source-$(cut -d. -f1,2 <<<"$1")"; }

download_and_unpack() {
	mkdir -p deb
	(cd deb && apt-get download -o APT::Sandbox::User=root "$@")
	for deb in deb/*.deb; do dpkg -x "$deb" .; done
	rm -r deb
}

# What the self-contained build takes from the kernel's source (own/Makefile): the crates, less the modules of the kernel
# crate that own/kernel.rs does not declare.
CRATE_SOURCES=(
	scripts/generate_rust_target.rs
	rust/{Makefile,bindgen_parameters,build_error.rs,compiler_builtins.rs,ffi.rs,bindings/lib.rs}
	rust/{macros,pin-init/src,pin-init/internal/src,proc-macro2,quote,syn}
	rust/helpers/{atomic,atomic_ext,bug,build_bug,err,rcu,refcount,slab,string}.c
	rust/kernel/{alloc,build_assert,error,fmt,init,module,module_param,print,ptr,seq_file,str,types}.rs
	rust/kernel/{alloc,ptr,str,types}
	rust/kernel/sync/{arc.rs,arc,atomic.rs,atomic,rcu.rs,refcount.rs,set_once.rs}
)

# crate_sources TARBALL OUT: unpacks them, and notes the source's version. The flags of the crates are those of the
# source's own makefile.
crate_sources() {
	mkdir -p "$2"
	tar -xf "$1" -C "$2" --strip-components=1 --exclude='*.md' --wildcards --no-wildcards-match-slash \
		"${CRATE_SOURCES[@]/#/linux-source-*/}" 'linux-source-*/Makefile'
	sed -n '/^cfgs-to-flags/,/^quiet_cmd/{/^quiet_cmd/!p}' "$2/rust/Makefile" >"$2/rust/Makefile.crates"
	sed -n 's/^\(VERSION\|PATCHLEVEL\|SUBLEVEL\) = //p' "$2/Makefile" | paste -sd. >"$2/version"
	rm "$2/Makefile" "$2/rust/Makefile"
}
