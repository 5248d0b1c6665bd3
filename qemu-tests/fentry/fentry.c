// SPDX-License-Identifier: GPL-2.0
/*
 * A BPF program at the entry of inet_select_addr, so that a case can see it called beside the redirection.
 */
#define SEC(name) __attribute__((section(name), used))

SEC("fentry/inet_select_addr") int entered(void *ctx)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
