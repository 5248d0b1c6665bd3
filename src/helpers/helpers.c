// SPDX-License-Identifier: GPL-2.0
/*
 * Wraps static inlines and macros of the kernel in functions that Rust can call. Each makes one call and decides
 * nothing. They are named as in the kernel's own rust/helpers/, so that a helper can go once the kernel has it.
 *
 * Also hides the differences of older kernels, so that src/abi/ sees the newest kernel's interfaces. The code depends
 * on what an interface looks like, not on the kernel's version, because distributions backport. Where the preprocessor
 * cannot tell, ../../Kbuild looks into the headers (HAVE_...).
 */
#include "../abi/bindings.h"
#include "trace.h"

MODULE_VERSION(ARP_HIDDEN_VERSION);
MODULE_INFO(rust, ARP_HIDDEN_RUST);

void *rust_helper_net_generic(const struct net *net, unsigned int id)
{
	return net_generic(net, id);
}

int rust_helper_net_inherit_devconf(void)
{
	return net_inherit_devconf();
}

struct net *rust_helper_current_net_ns(void)
{
	return current->nsproxy->net_ns;
}

struct task_struct *rust_helper_current_task(void)
{
	return current;
}

void rust_helper_rt_genid_bump_ipv4(struct net *net)
{
	rt_genid_bump_ipv4(net);
}

void rust_helper_dev_addr_genid_bump(struct net *net)
{
	atomic_inc(&net->ipv4.dev_addr_genid);
}

struct net_device *rust_helper_netdev_notifier_info_to_dev(const struct netdev_notifier_info *info)
{
	return netdev_notifier_info_to_dev(info);
}

struct net_device *rust_helper_first_net_device_rcu(struct net *net)
{
	return list_first_or_null_rcu(&net->dev_base_head, struct net_device, dev_list);
}

struct net_device *rust_helper_next_net_device_rcu(struct net_device *dev)
{
	return next_net_device_rcu(dev);
}

struct net_device *rust_helper_first_net_device(struct net *net)
{
	return first_net_device(net);
}

struct net_device *rust_helper_next_net_device(struct net_device *dev)
{
	return next_net_device(dev);
}

struct net_device *rust_helper_netdev_from_index(struct net *net, unsigned long *ifindex)
{
#ifdef HAVE_DEV_BY_INDEX
	return xa_find(&net->dev_by_index, ifindex, ULONG_MAX, XA_PRESENT);
#else
	struct net_device *dev, *found = dev_get_by_index_rcu(net, *ifindex);

	if (!found)
		for_each_netdev_rcu(net, dev)
			if (dev->ifindex >= *ifindex && (!found || dev->ifindex < found->ifindex))
				found = dev;
	if (found)
		*ifindex = found->ifindex;
	return found;
#endif
}

void rust_helper_netdev_copy_name(const struct net_device *dev, char *name)
{
	strscpy(name, dev->name, IFNAMSIZ);
}

struct net_device *rust_helper_dev_get_by_index_rcu(struct net *net, int ifindex)
{
	return dev_get_by_index_rcu(net, ifindex);
}

struct in_device *rust_helper___in_dev_get_rcu(const struct net_device *dev)
{
	return __in_dev_get_rcu(dev);
}

struct in_device *rust_helper___in_dev_get_rtnl(const struct net_device *dev)
{
	return __in_dev_get_rtnl(dev);
}

bool rust_helper_in_dev_route_localnet(struct in_device *in_dev)
{
	return IN_DEV_ROUTE_LOCALNET(in_dev);
}

bool rust_helper_in_dev_is_configured(const struct in_device *in_dev)
{
	/*
	 * ipv4_devconf_setall() marks every setting as set. A write to a setting's file marks that one, but in newer
	 * kernels not all of them do (devinet_conf_proc()).
	 */
	return bitmap_full(in_dev->cnf.state, IPV4_DEVCONF_MAX);
}

int rust_helper_l3mdev_master_ifindex_rcu(const struct net_device *dev)
{
	return l3mdev_master_ifindex_rcu(dev);
}

bool rust_helper_netif_is_bond_slave(const struct net_device *dev)
{
	return netif_is_bond_slave(dev);
}

int rust_helper_fib_lookup(struct net *net, struct flowi4 *flp, struct fib_result *res)
{
	return fib_lookup(net, flp, res, 0);
}

struct net_device *rust_helper_fib_res_dev(struct fib_result *res)
{
	return FIB_RES_DEV(*res);
}

void rust_helper_rcu_read_lock_sched(void)
{
	rcu_read_lock_sched();
}

void rust_helper_rcu_read_unlock_sched(void)
{
	rcu_read_unlock_sched();
}

bool rust_helper_inet_ifa_match(__be32 addr, const struct in_ifaddr *ifa)
{
	return inet_ifa_match(addr, ifa);
}

struct net *rust_helper_seq_file_net(struct seq_file *seq)
{
	return seq_file_net(seq);
}

void *rust_helper_seq_start_token(void)
{
	return SEQ_START_TOKEN;
}

void __percpu *rust_helper___alloc_percpu(size_t size, size_t align)
{
	return __alloc_percpu(size, align);
}

unsigned long *rust_helper_per_cpu_ptr(unsigned long __percpu *counter, unsigned int cpu)
{
	return per_cpu_ptr(counter, cpu);
}

void rust_helper_this_cpu_inc(unsigned long __percpu *counter)
{
	this_cpu_inc(*counter);
}

unsigned int rust_helper_next_possible_cpu(int cpu)
{
	return cpumask_next(cpu, cpu_possible_mask);
}

struct arphdr *rust_helper_arp_hdr(const struct sk_buff *skb)
{
	return arp_hdr(skb);
}

u8 rust_helper_skb_pkt_type(const struct sk_buff *skb)
{
	return skb->pkt_type;
}

int rust_helper_skb_network_offset(const struct sk_buff *skb)
{
	return skb_network_offset(skb);
}

void rust_helper_init_work(struct work_struct *work, work_func_t func)
{
	INIT_WORK(work, func);
}

bool rust_helper_schedule_work(struct work_struct *work)
{
	return schedule_work(work);
}

void rust_helper_init_delayed_work(struct delayed_work *work, work_func_t func)
{
	INIT_DELAYED_WORK(work, func);
}

bool rust_helper_schedule_delayed_work(struct delayed_work *work, unsigned long delay)
{
	return schedule_delayed_work(work, delay);
}

bool rust_helper_rtnl_trylock(void)
{
	return rtnl_trylock();
}

int rust_helper_restart_syscall(void)
{
	return restart_syscall();
}

unsigned long rust_helper_own_text_start(void)
{
#ifdef HAVE_MOD_TEXT
	return (unsigned long)THIS_MODULE->mem[MOD_TEXT].base;
#else
	return (unsigned long)THIS_MODULE->core_layout.base;
#endif
}

unsigned long rust_helper_own_text_size(void)
{
#ifdef HAVE_MOD_TEXT
	return THIS_MODULE->mem[MOD_TEXT].size;
#else
	return THIS_MODULE->core_layout.text_size;
#endif
}

/* The table ends with an empty entry. */
#ifndef register_net_sysctl
struct ctl_table_header *rust_helper_register_net_sysctl_sz(struct net *net, const char *path,
							     struct ctl_table *table, size_t size)
{
	return register_net_sysctl(net, path, table);
}
#endif

/* Before 6.11, a handler could change the table. Ours does not. */
void rust_helper_ctl_table_set_handler(struct ctl_table *table,
				       int (*handler)(const struct ctl_table *table, int write, void *buffer,
						      size_t *len, loff_t *pos))
{
	table->proc_handler = (proc_handler *)handler;
}

/*
 * Frees a request that stays unanswered, and returns the verdict that says so, as NF_DROP_REASON() does.
 *
 * The kernel's list of drop reasons has no place for a module that it does not know (SKB_DROP_REASON_SUBSYS_NUM is the
 * length of an array in it), so the reason is netfilter's. But drop_monitor, perf and the tracepoint skb:kfree_skb also
 * report the function that freed the frame, so this is one with a telling name, and not nf_hook_slow().
 */
unsigned int arp_hidden_unanswered(struct sk_buff *skb)
{
	kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);
	return NF_STOLEN;
}

void rust_helper_ftrace_regs_set_instruction_pointer(struct ftrace_regs *fregs, unsigned long ip)
{
#ifndef CONFIG_DYNAMIC_FTRACE_WITH_ARGS
	instruction_pointer_set(ftrace_get_regs(fregs), ip);
#elif defined(ftrace_instruction_pointer_set)
	ftrace_instruction_pointer_set(fregs, ip);
#else
	ftrace_regs_set_instruction_pointer(fregs, ip);
#endif
}

bool rust_helper_trace_request_unanswered_enabled(void)
{
	return trace_request_unanswered_enabled();
}

void rust_helper_trace_request_unanswered(const struct net_device *dev, const char *kind, const u8 *sha, u8 sha_len,
					  __be32 sip, __be32 tip, const struct net_device *owner, int hidden,
					  int arp_invisible)
{
	trace_request_unanswered(dev, kind, sha, sha_len, sip, tip, owner, hidden, arp_invisible);
}

bool rust_helper_trace_announcement_rewritten_enabled(void)
{
	return trace_announcement_rewritten_enabled();
}

void rust_helper_trace_announcement_rewritten(const struct net_device *dev, __be32 tip, __be32 sip,
					      __be32 announced, const struct net_device *owner, int hidden,
					      int arp_invisible)
{
	trace_announcement_rewritten(dev, tip, sip, announced, owner, hidden, arp_invisible);
}

bool rust_helper_trace_source_redirected_enabled(void)
{
	return trace_source_redirected_enabled();
}

void rust_helper_trace_source_redirected(const struct net_device *dev, __be32 dst, int scope, __be32 saddr,
					 __be32 selected, const struct net_device *owner, int hidden)
{
	trace_source_redirected(dev, dst, scope, saddr, selected, owner, hidden);
}
