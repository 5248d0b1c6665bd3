// SPDX-License-Identifier: GPL-2.0
/*
 * The C helpers of the kernel crate: those of the source's rust/helpers/, adapted to an older kernel's interfaces, and
 * printing.
 */
#include "bindings.h"

#define __rust_helper

/*
 * Before 6.18 there are no alignment and no node. The crate asks for no larger alignment than the size implies, and for
 * any node.
 */
#ifndef krealloc_node_align
#define krealloc_node_align(p, size, align, flags, node) krealloc(p, size, flags)
#ifdef vrealloc
#define kvrealloc_node_align(p, size, align, flags, node) kvrealloc(p, size, flags)
#else
/* Before 6.12 the caller must know the old size, so it is kept in front of the memory. */
struct sized {
	size_t size;
	u8 data[] __aligned(ARCH_KMALLOC_MINALIGN);
};

static void *kvrealloc_node_align(const void *p, size_t size, unsigned long align, gfp_t flags, int node)
{
	struct sized *old = p ? container_of(p, struct sized, data[0]) : NULL;
	struct sized *new = NULL;

	if (size) {
		if (align <= ARCH_KMALLOC_MINALIGN)
			new = kvmalloc(struct_size(new, data, size), flags);
		if (!new)
			return NULL;
		new->size = size;
		if (old)
			memcpy(new->data, old->data, min(old->size, size));
	}
	kvfree(old);
	return new ? new->data : NULL;
}
#endif
#endif

/* Before 6.4 only the fully ordered variants exist. */
#ifndef HAVE_ATOMIC_ADD_NEGATIVE_ACQUIRE
#define atomic_add_negative_relaxed atomic_add_negative
#define atomic_add_negative_acquire atomic_add_negative
#define atomic_add_negative_release atomic_add_negative
#define atomic64_add_negative_relaxed atomic64_add_negative
#define atomic64_add_negative_acquire atomic64_add_negative
#define atomic64_add_negative_release atomic64_add_negative
#endif

#include <rust/helpers/atomic.c>
#include <rust/helpers/atomic_ext.c>
#include <rust/helpers/err.c>
#include <rust/helpers/rcu.c>
#include <rust/helpers/refcount.c>
#include <rust/helpers/slab.c>
#include <rust/helpers/string.c>

void rust_helper_BUG_ON(bool condition)
{
	BUG_ON(condition);
}

/* Before 6.2 it is not exported. Then errors are printed as numbers. */
const char *rust_helper_errname(int error)
{
#ifdef HAVE_ERRNAME
	return errname(error);
#else
	return NULL;
#endif
}

bool rust_helper_is_vmalloc_addr(const void *p)
{
	return is_vmalloc_addr(p);
}

unsigned int rust_helper_nr_cpu_ids(void)
{
	return nr_cpu_ids;
}

/*
 * Printing. The crate passes fmt::Arguments for the format %pA, for which a kernel with Rust calls rust_fmt_argument().
 * Other kernels do not know %pA, so these two take the place of _printk() and seq_printf() in the crate. print.rs passes
 * "<level>%s: %pA", or "<level>%pA" to continue a line; seq_file.rs passes "%pA".
 */
int rust_helper__printk(const char *format, ...)
{
	const char *module = "", *colon = "";
	const void *arguments;
	char text[256], *end;
	va_list args;

	va_start(args, format);
	if (format[1] != KERN_CONT[1]) {
		module = va_arg(args, const char *);
		colon = ": ";
	}
	arguments = va_arg(args, const void *);
	va_end(args);
	end = rust_fmt_argument(text, text + sizeof(text), arguments);
	return printk("%.2s%s%s%.*s", format, module, colon, (int)min_t(size_t, end - text, sizeof(text)), text);
}

/* Like seq_vprintf(): if the text does not fit, seq_file allocates more room and starts over. */
void rust_helper_seq_printf(struct seq_file *m, const char *format, const void *arguments)
{
	char *text;
	size_t room = seq_get_buf(m, &text);
	size_t len = room ? rust_fmt_argument(text, text + room, arguments) - text : 0;

	seq_commit(m, len < room ? len : -1);
}

/* Parts of the crate that the module does not use refer to these. They are not defined, so using them does not link. */
void *rust_helper_vrealloc_node_align(const void *p, size_t size, unsigned long align, gfp_t flags, int node);
blk_status_t rust_helper_errno_to_blk_status(int error);
