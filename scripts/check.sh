# shellcheck shell=bash
# `make check`: checks the machine and writes the report. Sourced after lib.sh, by scripts/test and on the machine of the
# case install_check.

# Dies with one line if the cases cannot run on this machine.
check_machine() {
	[ "$(id -u)" = 0 ] || die "the cases load a module and make network namespaces: run make as root"
	[ ! -e /sys/module/arp_hidden ] ||
		die "arp_hidden is loaded, and the cases would unload it: unload it yourself (rmmod arp_hidden), or use another machine"
	[ "$(cat /proc/sys/kernel/modules_disabled 2>/dev/null)" = 0 ] || die "this kernel loads no modules (kernel.modules_disabled)"
	[ -e "/lib/modules/$(uname -r)/modules.dep" ] || die "the modules of this kernel are not in /lib/modules/$(uname -r)"
}

# The kernel options that may matter to the module.
OPTIONS=(
	CC_VERSION_TEXT RUSTC_VERSION_TEXT RUST MODVERSIONS GENDWARFKSYMS MODULE_SIG_FORCE SECURITY_LOCKDOWN_LSM PREEMPT_RT
	PREEMPT_LAZY HZ NR_CPUS DYNAMIC_FTRACE_WITH_ARGS HAVE_LIVEPATCH NETFILTER_FAMILY_ARP NET_L3_MASTER_DEV CFI CFI_CLANG FINEIBT
	X86_KERNEL_IBT ARM64_BTI_KERNEL LTO_CLANG '(MITIGATION_)?(RETPOLINE|RETHUNK|SLS)' INIT_ON_ALLOC_DEFAULT_ON
	SLAB_FREELIST_HARDENED KASAN PROVE_LOCKING
)

# about CONFIG MODULE: prints the head of the report: the kernel, its options, the module. Nothing identifies the machine.
about() {
	local config=$1 module=$2 field line=module:
	echo "kernel: $(uname -sr), $(uname -m)"
	# shellcheck source=/dev/null
	echo "distribution: $(. /etc/os-release && echo "$PRETTY_NAME")"
	grep -E "^CONFIG_($(IFS='|'; echo "${OPTIONS[*]}"))=" "$config"
	for field in version srcversion vermagic rust; do line+=" $field=$(modinfo -F $field "$module")"; done
	echo "$line"
}

# report CONFIG MODULE FILE COMMAND...: runs the cases with COMMAND. Its output goes to stdout and into the report FILE.
report() {
	local config=$1 module=$2 file=$3
	shift 3
	# COMMAND alone handles an interruption or a hangup: it cleans up.
	trap '' HUP
	{ about "$config" "$module"; "$@"; } | tee --ignore-interrupts "$file"
}
