# shellcheck shell=bash
# Finds and downloads the stock kernels of Debian's archive. Sourced after lib.sh, in the build environment.
#
# The kernels come from every suite, while the build environment's own apt must prefer its suite. So apt gets a state of
# its own here, in the cache, and never installs anything.

# The architectures of this machine and of the wanted packages.
HOST=$(dpkg --print-architecture)
ARCH=$HOST

# The default flavour, and the suites that have each kind of kernel.
export FLAVOUR=cloud-$HOST
BACKPORTS=(trixie-backports)
STABLE=(trixie trixie-security)
OLDSTABLE=(bookworm bookworm-security)
SUITES=("${BACKPORTS[@]}" "${STABLE[@]}" "${OLDSTABLE[@]}" bookworm-backports forky sid experimental)

# arch_of RELEASE: prints the architecture of a kernel.
arch_of() {
	case $1 in
	*-amd64 | *-arm64) echo "${1##*-}" ;;
	*) echo "$HOST" ;;
	esac
}

# in_archive COMMAND...: runs one of apt's commands on the archive's packages for $ARCH.
in_archive() { APT_CONFIG=$CACHE/archive-$ARCH/apt.conf "$@"; }

# Each suite's line is the one that mmdebstrap wrote for the build environment, with another suite. Security has an archive
# of its own. An expired release file means that the mirror lags behind, and is accepted.
configure_archive() {
	local state=$CACHE/archive-$ARCH suite archive
	mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
	touch "$state/status"
	archive=$(sed -n '/^deb /{s,/\? [^ ]* main$,,p;q}' /etc/apt/sources.list)
	for suite in "${SUITES[@]}"; do
		if [[ $suite = *-security ]]; then
			echo "${archive%/debian}/debian-security $suite main"
		else
			echo "$archive $suite main"
		fi
	done >"$state/sources.list"
	cat >"$state/apt.conf" <<-end
		APT::Architecture "$ARCH";
		APT::Architectures { "$ARCH"; };
		APT::Sandbox::User "root";
		Acquire::Check-Valid-Until "false";
		Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
		Acquire::Languages "none";
		Dir::Cache "$state/cache";
		Dir::Etc::SourceList "$state/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::State "$state";
		Dir::State::status "$state/status";
	end
}

# Fetches the archive's lists again if they are a day old or from other suites. Without a network, keeps the old ones.
refresh_lists() (
	stamp=$CACHE/archive-$ARCH/refreshed
	fresh() { [ -n "$(find "$stamp" -mmin -1440 2>/dev/null)" ] && [ "$(<"$stamp")" = "${SUITES[*]}" ]; }
	fresh && return
	locked archive
	fresh && return
	configure_archive
	if in_archive apt-get update >"$CACHE/apt.log" 2>&1; then
		echo "${SUITES[*]}" >"$stamp"
	else
		compgen -G "$CACHE/archive-$ARCH/lists/*_Packages" >/dev/null ||
			die "cannot fetch the archive's package lists, see $CACHE/apt.log; is there a network?"
		say "cannot refresh all of the archive's package lists, see $CACHE/apt.log; using what is there"
	fi
)

# newest_releases COUNT FLAVOUR SUITE...: prints the newest release, as uname -r does, of each of the COUNT newest series
# that the suites have in the flavour. The newest comes first.
newest_releases() {
	local count=$1 flavour=$2
	shift 2
	in_archive apt-cache pkgnames linux-headers- | grep -E "^linux-headers-[0-9][0-9.]*(\+[^-]*|-[0-9]+)?-$flavour$" |
		in_archive xargs -r apt-cache madison |
		awk -v suites="$*" '
			BEGIN { split(suites, list, " "); for (i in list) wanted[list[i] "/main"] }
			{ gsub(/\|/, " "); sub(/linux-headers-/, "") }
			$4 in wanted { print $1 }' |
		sort -ruV | first_of_each_series | head -n "$count"
}

# Prints the first release of each series on stdin.
first_of_each_series() { awk -F '[.+-]' '!seen[$1 "." $2]++'; }

# environment_of RELEASE: prints the suite of the build environment that has the kernel's compilers.
environment_of() {
	if in_archive apt-cache madison "linux-headers-$1" | grep -E ' (forky|sid|experimental)/main ' >/dev/null; then
		echo sid
	else
		echo trixie
	fi
}

# version_of PACKAGE: prints the version that apt would download; nothing if the archive has none.
version_of() { { in_archive apt-cache show --no-all-versions "$1" 2>/dev/null || true; } | sed -n 's/^Version: //p'; }

# has_version PACKAGE VERSION: whether the archive has that version.
has_version() { in_archive apt-cache show "$1" 2>/dev/null | grep -x "Version: $2" >/dev/null; }

# source_of RELEASE: prints the name of the source package.
source_of() { echo "linux-source-$(grep -oE '^[0-9]+\.[0-9]+' <<<"$1")"; }

# download_and_unpack NAME=VERSION...: downloads packages and unpacks them in the current folder.
download_and_unpack() {
	mkdir -p deb
	(cd deb && in_archive apt-get download "$@")
	for deb in deb/*.deb; do dpkg -x "$deb" .; done
	rm -r deb
}
