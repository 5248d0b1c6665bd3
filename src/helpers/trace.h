/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tracepoints arp_hidden:*. Devices are named as in the namespace "net", whose number is that of lsns and
 * /proc/PID/ns/net. "hidden" and "arp_invisible" are the values in force on the owner.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM arp_hidden
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .

#if !defined(_ARP_HIDDEN_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _ARP_HIDDEN_TRACE_H

#include <linux/netdevice.h>
#include <linux/tracepoint.h>
#include <net/net_namespace.h>

#ifdef HAVE_ASSIGN_STR_OF_TWO
#define assign_str(dst, src) __assign_str(dst, src)
#else
#define assign_str(dst, src) __assign_str(dst)
#endif

TRACE_EVENT(request_unanswered,

	TP_PROTO(const struct net_device *dev, const char *kind, const u8 *sha, u8 sha_len, __be32 sip, __be32 tip,
		 const struct net_device *owner, int hidden, int arp_invisible),

	TP_ARGS(dev, kind, sha, sha_len, sip, tip, owner, hidden, arp_invisible),

	TP_STRUCT__entry(
		__field(u32, net)
		__string(dev, dev->name)
		__string(kind, kind)
		__dynamic_array(u8, sha, sha_len)
		__array(u8, sip, 4)
		__array(u8, tip, 4)
		__string(owner, owner->name)
		__field(int, hidden)
		__field(int, arp_invisible)
	),

	TP_fast_assign(
		__entry->net = dev_net(dev)->ns.inum;
		assign_str(dev, dev->name);
		assign_str(kind, kind);
		memcpy(__get_dynamic_array(sha), sha, sha_len);
		memcpy(__entry->sip, &sip, 4);
		memcpy(__entry->tip, &tip, 4);
		assign_str(owner, owner->name);
		__entry->hidden = hidden;
		__entry->arp_invisible = arp_invisible;
	),

	TP_printk("net=%u dev=%s kind=%s sha=%s sip=%pI4 tip=%pI4 owner=%s hidden=%d arp_invisible=%d",
		  __entry->net, __get_str(dev), __get_str(kind),
		  __print_hex_str(__get_dynamic_array(sha), __get_dynamic_array_len(sha)),
		  __entry->sip, __entry->tip, __get_str(owner), __entry->hidden, __entry->arp_invisible)
);

TRACE_EVENT(announcement_rewritten,

	TP_PROTO(const struct net_device *dev, __be32 tip, __be32 sip, __be32 announced,
		 const struct net_device *owner, int hidden, int arp_invisible),

	TP_ARGS(dev, tip, sip, announced, owner, hidden, arp_invisible),

	TP_STRUCT__entry(
		__field(u32, net)
		__string(dev, dev->name)
		__dynamic_array(u8, sha, dev->addr_len)
		__array(u8, tip, 4)
		__array(u8, sip, 4)
		__array(u8, announced, 4)
		__string(owner, owner->name)
		__field(int, hidden)
		__field(int, arp_invisible)
	),

	TP_fast_assign(
		__entry->net = dev_net(dev)->ns.inum;
		assign_str(dev, dev->name);
		memcpy(__get_dynamic_array(sha), dev->dev_addr, __get_dynamic_array_len(sha));
		memcpy(__entry->tip, &tip, 4);
		memcpy(__entry->sip, &sip, 4);
		memcpy(__entry->announced, &announced, 4);
		assign_str(owner, owner->name);
		__entry->hidden = hidden;
		__entry->arp_invisible = arp_invisible;
	),

	TP_printk("net=%u dev=%s sha=%s tip=%pI4 sip=%pI4 announced=%pI4 owner=%s hidden=%d arp_invisible=%d",
		  __entry->net, __get_str(dev),
		  __print_hex_str(__get_dynamic_array(sha), __get_dynamic_array_len(sha)),
		  __entry->tip, __entry->sip, __entry->announced, __get_str(owner), __entry->hidden,
		  __entry->arp_invisible)
);

TRACE_EVENT(source_redirected,

	TP_PROTO(const struct net_device *dev, __be32 dst, int scope, __be32 saddr, __be32 selected,
		 const struct net_device *owner, int hidden),

	TP_ARGS(dev, dst, scope, saddr, selected, owner, hidden),

	TP_STRUCT__entry(
		__field(u32, net)
		__string(dev, dev->name)
		__array(u8, dst, 4)
		__field(int, scope)
		__array(u8, saddr, 4)
		__array(u8, selected, 4)
		__string(owner, owner->name)
		__field(int, hidden)
	),

	TP_fast_assign(
		__entry->net = dev_net(dev)->ns.inum;
		assign_str(dev, dev->name);
		memcpy(__entry->dst, &dst, 4);
		__entry->scope = scope;
		memcpy(__entry->saddr, &saddr, 4);
		memcpy(__entry->selected, &selected, 4);
		assign_str(owner, owner->name);
		__entry->hidden = hidden;
	),

	TP_printk("net=%u dev=%s dst=%pI4 scope=%d saddr=%pI4 selected=%pI4 owner=%s hidden=%d",
		  __entry->net, __get_str(dev), __entry->dst, __entry->scope, __entry->saddr,
		  __entry->selected, __get_str(owner), __entry->hidden)
);

#endif

/* This part must be outside protection */
#include <trace/define_trace.h>
