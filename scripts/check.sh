# shellcheck shell=bash
# `make check`: what the machine must be like, and the report. Sourced after lib.sh: by scripts/build, and on the machine of
# the case install_check.

# Ends with one line if the cases cannot run on this machine.
check_machine() {
	[ "$(id -u)" = 0 ] || die "the cases load a module and make network namespaces: run make as root"
	[ ! -e /sys/module/arp_hidden ] ||
		die "arp_hidden is loaded, and the cases would take it away: unload it (rmmod arp_hidden), or run them on another machine"
	[ "$(cat /proc/sys/kernel/modules_disabled 2>/dev/null)" = 0 ] || die "this kernel loads no modules (kernel.modules_disabled)"
	[ -e "/lib/modules/$(uname -r)/modules.dep" ] || die "the modules of this kernel are not in /lib/modules/$(uname -r)"
}

# The options that say how a kernel is built, as far as the module may notice.
OPTIONS=(
	CC_VERSION_TEXT RUSTC_VERSION_TEXT RUST MODVERSIONS GENDWARFKSYMS MODULE_SIG_FORCE SECURITY_LOCKDOWN_LSM PREEMPT_RT
	PREEMPT_LAZY HZ NR_CPUS DYNAMIC_FTRACE_WITH_ARGS HAVE_LIVEPATCH NETFILTER_FAMILY_ARP NET_L3_MASTER_DEV CFI CFI_CLANG FINEIBT
	X86_KERNEL_IBT ARM64_BTI_KERNEL LTO_CLANG '(MITIGATION_)?(RETPOLINE|RETHUNK|SLS)' INIT_ON_ALLOC_DEFAULT_ON
	SLAB_FREELIST_HARDENED KASAN PROVE_LOCKING
)

# The head of the report: the kernel, what it is built with and how, the module. Nothing that tells whose machine it is.
about() {
	local config=$1 module=$2 field line=module:
	echo "kernel: $(uname -sr), $(uname -m)"
	# shellcheck source=/dev/null
	echo "distribution: $(. /etc/os-release && echo "$PRETTY_NAME")"
	grep -E "^CONFIG_($(IFS='|'; echo "${OPTIONS[*]}"))=" "$config"
	for field in version srcversion vermagic rust; do line+=" $field=$(modinfo -F $field "$module")"; done
	echo "$line"
}

# report CONFIG MODULE FILE COMMAND...: runs the cases by COMMAND. What it prints goes to standard output and into the
# report.
report() {
	local config=$1 module=$2 file=$3
	shift 3
	# An interruption or a terminal that is gone is for COMMAND alone: it cleans up.
	trap '' HUP
	{ about "$config" "$module"; "$@"; } | tee --ignore-interrupts "$file"
}
