# shellcheck shell=bash
# Shared by the scripts: the cache, progress messages, errors, locks. Sourced first.
set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/arp_hidden
mkdir -p "$CACHE"
export TOP CACHE

# Only a script's result goes to stdout, so that callers can capture it.
say() { printf '%s\n' "$*" >&2; }
die() { say "arp_hidden: $*"; exit 1; }

# step TEXT COMMAND...: prints TEXT, runs the command with its output in the log LOG (default: step.log in the cache), and
# prints how long it took. If it fails, dies after printing the end of the log.
step() {
	local text=$1 log=${LOG:-$CACHE/step.log} start=$SECONDS
	shift
	printf '%s ... ' "$text" >&2
	# Not as a condition: bash ignores set -e in the commands of one.
	local status
	set +e
	(set -e; "$@") >"$log" 2>&1 </dev/null
	status=$?
	set -e
	if [ $status = 0 ]; then
		printf 'done in %d s\n' $((SECONDS - start)) >&2
	else
		printf 'FAILED after %d s\n' $((SECONDS - start)) >&2
		tail -n 25 "$log" >&2
		die "the step above failed; its whole output is in $log"
	fi
}

# locked NAME: takes the cache's lock NAME and holds it until this shell ends, so that two runs of make do not build the
# same thing at once.
locked() {
	exec 9>"$CACHE/$1.lock"
	flock -n 9 && return
	say "another run is preparing the $1; waiting for it"
	flock 9
}

# Prints the version.
version() { sed -n 's/^export ARP_HIDDEN_VERSION := //p' "$TOP/Kbuild"; }

# The packages of the programs in the virtual machines, which come from the build environment or from scripts/userland.
# shellcheck disable=SC2034 # used by scripts that source this
PROGRAMS=(
	iproute2 nftables arptables ipvsadm iputils-arping busybox-static keepalived systemd udev bpftool
	linux-sysctl-defaults bird2 crun
)
