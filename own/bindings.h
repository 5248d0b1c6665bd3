/* SPDX-License-Identifier: GPL-2.0 */
/* The headers that kernel.rs needs bindings for; rust/bindings/bindings_helper.h has those for the whole crate. */
#include <linux/atomic.h>
#include <linux/blk_types.h>
#include <linux/bug.h>
#include <linux/cpumask.h>
#include <linux/err.h>
#include <linux/errname.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/kern_levels.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/numa.h>
#include <linux/printk.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

/* error.rs refers to these; older kernels lack them. */
#ifndef EFTYPE
#define EFTYPE 134
#define EFSBADCRC EBADMSG
#define EFSCORRUPTED EUCLEAN
#endif

/* Defined in print.rs. */
char *rust_fmt_argument(char *buf, char *end, const void *ptr);

/* bindgen does not evaluate these macros. */
const size_t RUST_CONST_HELPER_ARCH_KMALLOC_MINALIGN = ARCH_KMALLOC_MINALIGN;
const size_t RUST_CONST_HELPER_PAGE_SIZE = PAGE_SIZE;
const gfp_t RUST_CONST_HELPER_GFP_ATOMIC = GFP_ATOMIC;
const gfp_t RUST_CONST_HELPER_GFP_KERNEL = GFP_KERNEL;
const gfp_t RUST_CONST_HELPER_GFP_KERNEL_ACCOUNT = GFP_KERNEL_ACCOUNT;
const gfp_t RUST_CONST_HELPER_GFP_NOWAIT = GFP_NOWAIT;
const gfp_t RUST_CONST_HELPER___GFP_ZERO = __GFP_ZERO;
const gfp_t RUST_CONST_HELPER___GFP_HIGHMEM = __GFP_HIGHMEM;
const gfp_t RUST_CONST_HELPER___GFP_NOWARN = __GFP_NOWARN;
