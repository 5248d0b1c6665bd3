# shellcheck shell=bash
# What the scripts share: where the cache is, how steps are told and how an error ends them.
set -euo pipefail

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/arp_hidden
mkdir -p "$CACHE"
export TOP CACHE

# Everything but a script's result goes to stderr, so that results can be captured.
say() { printf '%s\n' "$*" >&2; }
die() { say "arp_hidden: $*"; exit 1; }

# step TEXT COMMAND...: say what is being done, do it with its output in a log, say how long it took.
# A failure shows the end of the log. The log goes to $LOG (default: the cache's last-step log).
step() {
	local text=$1 log=${LOG:-$CACHE/step.log} start=$SECONDS
	shift
	printf '%s ... ' "$text" >&2
	# Not as a condition: in one, a function would go on after a command of its own that failed.
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

# locked NAME: hold the cache's lock NAME until this shell ends, so that two runs of make never build
# the same thing at once.
locked() {
	exec 9>"$CACHE/$1.lock"
	flock -n 9 && return
	say "another run is preparing the $1; waiting for it"
	flock 9
}

# The version, from the one place where it is written.
version() { sed -n 's/^export ARP_HIDDEN_VERSION := //p' "$TOP/Kbuild"; }

# The packages of what the virtual machines run. They come from the build environment, or from scripts/userland.
# shellcheck disable=SC2034 # for who sources this
PROGRAMS=(
	iproute2 nftables arptables ipvsadm iputils-arping busybox-static keepalived systemd udev bpftool
	linux-sysctl-defaults bird2 crun
)
