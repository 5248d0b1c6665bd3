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
