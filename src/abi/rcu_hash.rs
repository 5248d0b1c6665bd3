// SPDX-License-Identifier: GPL-2.0

//! A hash table with several values a key, read under RCU and written under the RTNL.
//!
//! Unlike the kernel's rhashtable and XArray, an insertion cannot fail once its entry is allocated, which
//! may be long before the key is known: the state that a notifier keeps must not lag for want of memory.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use super::{
    rcu::GracePeriod,
    rtnl::{Rtnl, RtnlCell}, //
};
use core::{
    iter,
    marker::PhantomData,
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};
use kernel::{
    bindings,
    prelude::*,
    sync::rcu,
    types::Opaque, //
};

const INITIAL_BITS: u32 = 4;
/// The entries that a bucket may have on average before the table grows, by a factor of four.
const LOAD: usize = 1;

#[repr(C)]
struct Node<V> {
    /// First, so that a pointer to it is one to the node.
    rcu: Opaque<bindings::callback_head>,
    key: u32,
    /// The next node of the bucket, one link for each of the two tables that exist while one replaces the
    /// other.
    next: [AtomicPtr<Node<V>>; 2],
    value: V,
}

/// Room for a value that is to be inserted.
pub(crate) struct Vacant<V>(KBox<MaybeUninit<Node<V>>>);

// SAFETY: There is nothing in it.
unsafe impl<V> Send for Vacant<V> {}

impl<V> Vacant<V> {
    /// Allocates the room. Sleeps.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(KBox::new_uninit(GFP_KERNEL)?))
    }
}

impl<V> Node<V> {
    /// The node's link in a table that uses the first or the second ones.
    #[inline]
    fn link(&self, second: bool) -> &AtomicPtr<Node<V>> {
        &self.next[usize::from(second)]
    }
}

/// # Invariants
///
/// There are `1 << bits` buckets; `shift` is the number of bits that a hash has more than that.
struct Table<V> {
    /// Which of a node's links this table uses, the first or the second.
    link: bool,
    bits: u32,
    shift: u32,
    buckets: KVec<AtomicPtr<Node<V>>>,
}

impl<V> Table<V> {
    fn new(bits: u32, link: bool) -> Result<KBox<Self>> {
        let len = 1usize << bits;
        let mut buckets = KVec::with_capacity(len, GFP_KERNEL | __GFP_NOWARN)?;
        for _ in 0..len {
            buckets.push_within_capacity(AtomicPtr::new(ptr::null_mut()))?;
        }
        // INVARIANT: As many as were pushed.
        Ok(KBox::new(
            Self {
                link,
                bits,
                shift: u32::BITS - bits,
                buckets,
            },
            GFP_KERNEL,
        )?)
    }

    #[inline]
    fn bucket(&self, key: u32) -> &AtomicPtr<Node<V>> {
        // The golden ratio, as `hash_32` of include/linux/hash.h; the high bits are the good ones.
        let hash = key.wrapping_mul(0x61C8_8647).wrapping_shr(self.shift);
        // SAFETY: By the type invariants there are as many buckets as the hash has values.
        unsafe { self.buckets.get_unchecked(hash as usize) }
    }
}

/// The hash table: `u32` keys, any number of values each.
///
/// A value that is removed is dropped after a grace period, in softirq context: its `Drop` may not sleep.
/// The module that has such tables waits with [`Barrier`] before its code goes.
///
/// # Invariants
///
/// - `table` is a [`Table`] made by [`KBox::into_raw`]. The lists of its buckets hold the `len` nodes of the
///   map, each made by [`KBox::into_raw`], each in the bucket of its key, linked by `next[table.link]`.
/// - Writers hold the RTNL. A table that was replaced is freed when a grace period has passed, and before the next
///   replacement; a node that was unlinked is freed after a grace period.
pub(crate) struct RcuHash<V: Send + Sync + 'static> {
    table: AtomicPtr<Table<V>>,
    len: RtnlCell<usize>,
    /// The table before this one, until no reader can have it any more.
    replaced: RtnlCell<Option<(GracePeriod, KBox<Table<V>>)>>,
    _owns: PhantomData<V>,
}

impl<V: Send + Sync + 'static> RcuHash<V> {
    /// Makes an empty table. Sleeps.
    pub(crate) fn new() -> Result<Self> {
        // INVARIANT: No nodes, empty lists.
        Ok(Self {
            table: AtomicPtr::new(KBox::into_raw(Table::new(INITIAL_BITS, false)?)),
            len: RtnlCell::new(0),
            replaced: RtnlCell::new(None),
            _owns: PhantomData,
        })
    }

    /// Makes room for `len` values at once, as far as there is memory for it. Sleeps, for a grace period at most.
    pub(crate) fn reserve(&self, len: usize, rtnl: &mut Rtnl) {
        // SAFETY: As in `iter`.
        let table = unsafe { &*self.table.load(Ordering::Acquire) };
        let bits = len.div_ceil(LOAD).next_power_of_two().ilog2();
        if bits <= table.bits || bits >= u32::BITS {
            return;
        }
        if let Ok(larger) = Table::new(bits, !table.link) {
            if !self.free_replaced(rtnl) {
                // SAFETY: No requirements but a context that may sleep.
                unsafe { bindings::synchronize_rcu() };
            }
            self.replace(larger, rtnl);
        }
    }

    /// The values of `key`, the newest first.
    #[inline]
    pub(crate) fn get<'a>(&'a self, key: u32, _: &'a rcu::Guard) -> Matches<'a, V> {
        // SAFETY: By the type invariants `table` is valid, and it is freed a grace period after it was
        // replaced only, which the guard holds off.
        let table = unsafe { &*self.table.load(Ordering::Acquire) };
        // INVARIANT: Neither is a node of the table freed before the guard goes.
        Matches {
            node: table.bucket(key).load(Ordering::Acquire),
            link: table.link,
            key,
            _guard: PhantomData,
        }
    }

    /// All values, in no order.
    pub(crate) fn iter<'a>(&'a self, _: &'a Rtnl) -> impl Iterator<Item = &'a V> {
        // SAFETY: By the type invariants `table` is valid; it and the nodes are changed under the RTNL only,
        // of which the caller has the only evidence.
        let table = unsafe { &*self.table.load(Ordering::Acquire) };
        table
            .buckets
            .iter()
            // SAFETY: As above.
            .flat_map(move |bucket| unsafe { Self::list(table, bucket) })
            .map(|node| &node.value)
    }

    /// Inserts a value and returns it. Makes the table larger if it is time, if there is memory for it and if the
    /// last time is a grace period ago. May sleep for memory, but not for a grace period.
    pub(crate) fn insert<'a>(
        &'a self,
        vacant: Vacant<V>,
        key: u32,
        value: V,
        rtnl: &'a mut Rtnl,
    ) -> &'a V {
        // SAFETY: As in `iter`.
        let table = unsafe { &*self.table.load(Ordering::Acquire) };
        let bucket = table.bucket(key);
        let mut next = [const { AtomicPtr::new(ptr::null_mut()) }; 2];
        *next[usize::from(table.link)].get_mut() = bucket.load(Ordering::Relaxed);
        let node = KBox::write(
            vacant.0,
            Node {
                rcu: Opaque::uninit(),
                key,
                next,
                value,
            },
        );
        let node = KBox::into_raw(node);
        // Release: a reader that finds the node finds it initialised.
        bucket.store(node, Ordering::Release);
        let len = self.len.get_mut(rtnl);
        *len += 1;
        let grow = *len > LOAD << table.bits && table.bits + 2 < u32::BITS;
        // Until readers have left the table before this one, its links are theirs: then the next insertion grows.
        if grow && self.free_replaced(rtnl) {
            if let Ok(larger) = Table::new(table.bits + 2, !table.link) {
                self.replace(larger, rtnl);
            }
        }
        // SAFETY: Made by `KBox::into_raw`, and freed under the RTNL only, of which the caller has the only
        // evidence.
        &unsafe { &*node }.value
    }

    /// Frees the table before this one, if there is one and no reader has it any more; false if one may.
    fn free_replaced(&self, rtnl: &mut Rtnl) -> bool {
        let replaced = self.replaced.get_mut(rtnl);
        if replaced
            .as_ref()
            .is_some_and(|(since, _)| !since.has_passed())
        {
            return false;
        }
        *replaced = None;
        true
    }

    /// Moves all nodes to `larger`. Readers use the old table and the old links until they see the new one. No
    /// reader may have the table before this one any more.
    fn replace(&self, larger: KBox<Table<V>>, rtnl: &mut Rtnl) {
        // SAFETY: As in `iter`.
        let old = unsafe { &*self.table.load(Ordering::Acquire) };
        for bucket in &old.buckets {
            // SAFETY: As in `iter`; the list is walked by the old links, and the new ones are changed, which
            // no reader follows since the grace period that ended the previous replacement.
            for node in unsafe { Self::list(old, bucket) } {
                let head = larger.bucket(node.key);
                node.link(larger.link)
                    .store(head.load(Ordering::Relaxed), Ordering::Relaxed);
                head.store(ptr::from_ref(node).cast_mut(), Ordering::Relaxed);
            }
        }
        let old = self.table.swap(KBox::into_raw(larger), Ordering::Release);
        // SAFETY: Made by `KBox::into_raw`. Readers may have it, but nobody writes to it and it stays where it is.
        let old = unsafe { KBox::from_raw(old) };
        *self.replaced.get_mut(rtnl) = Some((GracePeriod::start(), old));
    }

    /// Removes the values of `key` for which `which` holds; says how many there were.
    pub(crate) fn remove(&self, key: u32, which: impl Fn(&V) -> bool, rtnl: &mut Rtnl) -> usize {
        // SAFETY: As in `iter`.
        let table = unsafe { &*self.table.load(Ordering::Acquire) };
        self.unlink(
            table,
            table.bucket(key),
            |node| node.key == key && which(&node.value),
            rtnl,
        )
    }

    /// Removes all values.
    pub(crate) fn clear(&self, rtnl: &mut Rtnl) {
        // SAFETY: As in `iter`.
        let table = unsafe { &*self.table.load(Ordering::Acquire) };
        for bucket in &table.buckets {
            self.unlink(table, bucket, |_| true, rtnl);
        }
    }

    fn unlink(
        &self,
        table: &Table<V>,
        bucket: &AtomicPtr<Node<V>>,
        which: impl Fn(&Node<V>) -> bool,
        rtnl: &mut Rtnl,
    ) -> usize {
        let mut link = bucket;
        let mut removed = 0;
        loop {
            let node = link.load(Ordering::Relaxed);
            if node.is_null() {
                break;
            }
            // SAFETY: A node of the list is valid, and none is freed but by this function, under the RTNL.
            let this = unsafe { &*node };
            let next = this.link(table.link);
            if which(this) {
                // Release: what follows was published to this thread only.
                link.store(next.load(Ordering::Relaxed), Ordering::Release);
                // SAFETY: The node is unlinked, so new readers do not find it; `rcu` is for this call.
                unsafe { bindings::call_rcu(this.rcu.get(), Some(Self::free_node)) };
                removed += 1;
            } else {
                link = next;
            }
        }
        *self.len.get_mut(rtnl) -= removed;
        removed
    }

    /// # Safety
    ///
    /// `rcu` must be the first field of a [`Node`] made by [`KBox::into_raw`] that nobody else uses.
    unsafe extern "C" fn free_node(rcu: *mut bindings::callback_head) {
        // SAFETY: As the caller promises; the field is the first of a `repr(C)` struct.
        drop(unsafe { KBox::from_raw(rcu.cast::<Node<V>>()) });
    }

    /// The nodes of a bucket.
    ///
    /// # Safety
    ///
    /// The table and the nodes that the bucket links must be valid for `'a`, or for a reader until its RCU
    /// read-side critical section ends, which `'a` does not outlive.
    unsafe fn list<'a>(
        table: &'a Table<V>,
        bucket: &'a AtomicPtr<Node<V>>,
    ) -> impl Iterator<Item = &'a Node<V>> {
        let link = table.link;
        // SAFETY: As the caller promises. Acquire pairs with the release of the insertion.
        let load = move |at: &AtomicPtr<Node<V>>| unsafe { at.load(Ordering::Acquire).as_ref() };
        iter::successors(load(bucket), move |node| load(node.link(link)))
    }
}

/// The values of a key.
///
/// # Invariants
///
/// `node` is null or points to a node, which is not freed during `'a`.
pub(crate) struct Matches<'a, V> {
    node: *mut Node<V>,
    link: bool,
    key: u32,
    _guard: PhantomData<&'a V>,
}

impl<V> Clone for Matches<'_, V> {
    #[inline]
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<'a, V> Iterator for Matches<'a, V> {
    type Item = &'a V;

    #[inline]
    fn next(&mut self) -> Option<&'a V> {
        loop {
            // SAFETY: By the type invariants.
            let node = unsafe { self.node.as_ref() }?;
            // INVARIANT: A node of the same list. Acquire pairs with the release of the insertion.
            self.node = node.link(self.link).load(Ordering::Acquire);
            if node.key == self.key {
                return Some(&node.value);
            }
        }
    }
}

impl<V: Send + Sync + 'static> Drop for RcuHash<V> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants; `&mut self` says that no reader and no writer is left.
        let table = unsafe { KBox::from_raw(*self.table.get_mut()) };
        for bucket in &table.buckets {
            let mut node = bucket.load(Ordering::Relaxed);
            while !node.is_null() {
                // SAFETY: As above.
                let owned = unsafe { KBox::from_raw(node) };
                node = owned.link(table.link).load(Ordering::Relaxed);
            }
        }
    }
}

/// Waits, when it is dropped, until every value removed from a table has been dropped too. Sleeps.
pub(crate) struct Barrier;

impl Drop for Barrier {
    fn drop(&mut self) {
        // SAFETY: No requirements but a context that may sleep.
        unsafe { bindings::rcu_barrier() };
    }
}
