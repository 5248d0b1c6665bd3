# shellcheck shell=bash
# The stock kernels of Debian's archive: which there are, and how to download them. Sourced after lib.sh, in the build
# environment.
#
# The kernels come from every suite, but the build environment's own apt must go on preferring its suite. So this has
# an apt state of its own in the cache, and never installs anything.

# The architecture of this machine, and that of the packages that are asked for.
HOST=$(dpkg --print-architecture)
ARCH=$HOST

# The flavour of the kernel that is taken if none is named, and the suites that have each kind of kernel.
export FLAVOUR=cloud-$HOST
BACKPORTS=(trixie-backports)
STABLE=(trixie trixie-security)
OLDSTABLE=(bookworm bookworm-security)
SUITES=("${BACKPORTS[@]}" "${STABLE[@]}" "${OLDSTABLE[@]}" bookworm-backports forky sid experimental)

# The architecture that a kernel's release names.
arch_of() {
	case $1 in
	*-amd64 | *-arm64) echo "${1##*-}" ;;
	*) echo "$HOST" ;;
	esac
}

# in_archive COMMAND...: runs one of apt's commands on the archive's packages for $ARCH.
in_archive() { APT_CONFIG=$CACHE/archive-$ARCH/apt.conf "$@"; }

# Each suite's line is the one that mmdebstrap wrote for the build environment, with another suite. Security is an archive of its
# own beside the main one. A release file past its date is a mirror's that lags behind: its kernels will do.
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

# Fetches the archive's lists again if they are a day old or of other suites. Without a network the old ones serve.
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

# newest_releases COUNT FLAVOUR SUITE...: the newest release (as uname -r prints it) of each of the COUNT newest series
# that the suites have in a flavour, the newest first.
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

# Of the releases on standard input, the first of each series.
first_of_each_series() { awk -F '[.+-]' '!seen[$1 "." $2]++'; }

# The suite of the build environment that has the compilers of release $1.
environment_of() {
	if in_archive apt-cache madison "linux-headers-$1" | grep -E ' (forky|sid|experimental)/main ' >/dev/null; then
		echo sid
	else
		echo trixie
	fi
}

# The version of package $1 that the archive would give; nothing if it has none.
version_of() { { in_archive apt-cache show --no-all-versions "$1" 2>/dev/null || true; } | sed -n 's/^Version: //p'; }

# Whether the archive has version $2 of package $1.
has_version() { in_archive apt-cache show "$1" 2>/dev/null | grep -x "Version: $2" >/dev/null; }

# The source package of release $1.
source_of() { echo "linux-source-$(grep -oE '^[0-9]+\.[0-9]+' <<<"$1")"; }

# Downloads packages, each as NAME=VERSION, and unpacks them in the current folder.
download_and_unpack() {
	mkdir -p deb
	(cd deb && in_archive apt-get download "$@")
	for deb in deb/*.deb; do dpkg -x "$deb" .; done
	rm -r deb
}
