// SPDX-License-Identifier: GPL-2.0
/*
 * Holds inet_select_addr as a live patch does, so that a case can see arp_hidden refuse to load beside it.
 */
#include <linux/ftrace.h>
#include <linux/inetdevice.h>
#include <linux/module.h>

static void notrace pass(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			 struct ftrace_regs *regs)
{
}

static struct ftrace_ops ops = {
	.func = pass,
	.flags = FTRACE_OPS_FL_IPMODIFY,
};

static int __init holder_init(void)
{
	int error = ftrace_set_filter_ip(&ops, (unsigned long)inet_select_addr, 0, 0);

	if (error)
		return error;
	error = register_ftrace_function(&ops);
	if (error)
		ftrace_free_filter(&ops);
	return error;
}
module_init(holder_init);

static void __exit holder_exit(void)
{
	unregister_ftrace_function(&ops);
	ftrace_free_filter(&ops);
}
module_exit(holder_exit);

MODULE_DESCRIPTION("A holder of inet_select_addr, for a test");
MODULE_LICENSE("GPL");
