// SPDX-License-Identifier: GPL-2.0

//! A hash table with several values per key, read under RCU and written under the RTNL.
//!
//! Unlike with the kernel's rhashtable and XArray, an insertion cannot fail once its entry is allocated, which may be
//! long before the key is known. A notifier that cannot refuse an event needs this to keep its state complete.
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
/// The average number of entries per bucket above which the table grows, by a factor of four.
const LOAD: usize = 1;

#[repr(C)]
struct Node<V> {
    /// The first field, so that a pointer to it is a pointer to the node.
    rcu: Opaque<bindings::callback_head>,
    key: u32,
    /// The next node of the bucket. Two links, because two tables exist while one replaces the other.
    next: [AtomicPtr<Node<V>>; 2],
    value: V,
}

/// An allocated entry for a value that is not known yet.
pub(crate) struct Vacant<V>(KBox<MaybeUninit<Node<V>>>);

// SAFETY: The entry holds no value yet.
unsafe impl<V> Send for Vacant<V> {}

impl<V> Vacant<V> {
    /// Allocates it. Sleeps.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(KBox::new_uninit(GFP_KERNEL)?))
    }
}

impl<V> Node<V> {
    /// Returns the node's first or second link.
    #[inline]
    fn link(&self, second: bool) -> &AtomicPtr<Node<V>> {
        &self.next[usize::from(second)]
    }
}

/// # Invariants
///
/// There are `1 << bits` buckets, and `shift` is `32 - bits`.
struct Table<V> {
    /// Whether this table uses the nodes' second links.
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
        // INVARIANT: `1 << bits` buckets were pushed.
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
        // As `hash_32` of include/linux/hash.h, which uses the high bits too.
        let hash = key.wrapping_mul(0x61C8_8647).wrapping_shr(self.shift);
        // SAFETY: By the type invariants, `hash` is less than the number of buckets.
        unsafe { self.buckets.get_unchecked(hash as usize) }
    }
}

/// A hash table with `u32` keys and any number of values per key.
///
/// A removed value is dropped after a grace period, in softirq context: its `Drop` must not sleep. A module with such
/// tables must drop a [`Barrier`] last.
///
/// # Invariants
///
/// - `table` comes from [`KBox::into_raw`]. The lists of its buckets contain the `len` nodes of the map. Each comes
///   from [`KBox::into_raw`], is in the bucket of its key, and is linked by `next[table.link]`.
/// - Writers hold the RTNL. A replaced table is freed after a grace period, and before the next replacement. An
///   unlinked node is freed after a grace period.
pub(crate) struct RcuHash<V: Send + Sync + 'static> {
    table: AtomicPtr<Table<V>>,
    len: RtnlCell<usize>,
    /// The previous table, while readers may still use it.
    replaced: RtnlCell<Option<(GracePeriod, KBox<Table<V>>)>>,
    _owns: PhantomData<V>,
}

impl<V: Send + Sync + 'static> RcuHash<V> {
    /// Creates an empty table. Sleeps.
    pub(crate) fn new() -> Result<Self> {
        // INVARIANT: No nodes, empty lists.
        Ok(Self {
            table: AtomicPtr::new(KBox::into_raw(Table::new(INITIAL_BITS, false)?)),
            len: RtnlCell::new(0),
            replaced: RtnlCell::new(None),
            _owns: PhantomData,
        })
    }

    /// Grows the table for `len` values, if there is memory. Sleeps, for a grace period at most.
    pub(crate) fn reserve(&self, len: usize, rtnl: &mut Rtnl) {
        // SAFETY: By the type invariants, `table` is valid, and changes only under the RTNL, which the caller holds.
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

    /// Returns the values of `key`, the newest first.
    #[inline]
    pub(crate) fn get<'a>(&'a self, key: u32, _: &'a rcu::Guard) -> Matches<'a, V> {
        // SAFETY: By the type invariants, `table` is valid. It is freed a grace period after it was replaced, which
        // cannot end before the guard is dropped.
        let table = unsafe { &*self.table.load(Ordering::Acquire) };
        // INVARIANT: Nor is a node freed before the guard is dropped.
        Matches {
            node: table.bucket(key).load(Ordering::Acquire),
            link: table.link,
            key,
            _guard: PhantomData,
        }
    }

    /// Returns all values, in no particular order.
    pub(crate) fn iter<'a>(&'a self, _: &'a Rtnl) -> impl Iterator<Item = &'a V> {
        // SAFETY: By the type invariants, `table` is valid. It and the nodes change only under the RTNL, for which the
        // caller has the only evidence.
        let table = unsafe { &*self.table.load(Ordering::Acquire) };
        table
            .buckets
            .iter()
            // SAFETY: The table and its nodes stay valid while the RTNL is borrowed, as above.
            .flat_map(move |bucket| unsafe { Self::list(table, bucket) })
            .map(|node| &node.value)
    }

    /// Inserts a value and returns it. Grows the table if it is full, there is memory, and it last grew at least a
    /// grace period ago. May sleep for memory, but not for a grace period.
    pub(crate) fn insert<'a>(
        &'a self,
        vacant: Vacant<V>,
        key: u32,
        value: V,
        rtnl: &'a mut Rtnl,
    ) -> &'a V {
        // SAFETY: By the type invariants, `table` is valid, and changes only under the RTNL, which the caller holds.
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
        // Release, so that a reader that finds the node finds it initialised.
        bucket.store(node, Ordering::Release);
        let len = self.len.get_mut(rtnl);
        *len += 1;
        let grow = *len > LOAD << table.bits && table.bits + 2 < u32::BITS;
        // While readers may use the previous table, its links are in use. Then a later insertion grows this one.
        if grow && self.free_replaced(rtnl) {
            if let Ok(larger) = Table::new(table.bits + 2, !table.link) {
                self.replace(larger, rtnl);
            }
        }
        // SAFETY: Comes from `KBox::into_raw`, and is unlinked only under the RTNL, for which the caller has the only
        // evidence.
        &unsafe { &*node }.value
    }

    /// Frees the previous table, if there is one. Returns false if readers may still use it.
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

    /// Moves all nodes to `larger`. Readers use the old table and the old links until they see the new table. No reader
    /// may use the previous table any more.
    fn replace(&self, larger: KBox<Table<V>>, rtnl: &mut Rtnl) {
        // SAFETY: By the type invariants, `table` is valid, and changes only under the RTNL, which the caller holds.
        let old = unsafe { &*self.table.load(Ordering::Acquire) };
        for bucket in &old.buckets {
            // Walks the old links and changes the new ones. No reader follows these since the grace period after the
            // previous replacement.
            // SAFETY: By the type invariants, the nodes are valid, and are unlinked only under the RTNL.
            for node in unsafe { Self::list(old, bucket) } {
                let head = larger.bucket(node.key);
                node.link(larger.link)
                    .store(head.load(Ordering::Relaxed), Ordering::Relaxed);
                head.store(ptr::from_ref(node).cast_mut(), Ordering::Relaxed);
            }
        }
        let old = self.table.swap(KBox::into_raw(larger), Ordering::Release);
        // SAFETY: Comes from `KBox::into_raw`. Readers may still use it, but nobody writes to it, and it does not move.
        let old = unsafe { KBox::from_raw(old) };
        *self.replaced.get_mut(rtnl) = Some((GracePeriod::from_now(), old));
    }

    /// Removes the values of `key` that `which` selects. Returns their number.
    pub(crate) fn remove(&self, key: u32, which: impl Fn(&V) -> bool, rtnl: &mut Rtnl) -> usize {
        // SAFETY: By the type invariants, `table` is valid, and changes only under the RTNL, which the caller holds.
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
        // SAFETY: By the type invariants, `table` is valid, and changes only under the RTNL, which the caller holds.
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
            // SAFETY: A node in the list is valid. Only this function unlinks nodes, under the RTNL.
            let this = unsafe { &*node };
            let next = this.link(table.link);
            if which(this) {
                // Release, so that a reader that follows the new link finds the next node initialised.
                link.store(next.load(Ordering::Relaxed), Ordering::Release);
                // SAFETY: The node is unlinked, so new readers do not find it. `rcu` is not used otherwise.
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
    /// `rcu` must be the first field of a [`Node`] that comes from [`KBox::into_raw`] and that nobody else uses.
    unsafe extern "C" fn free_node(rcu: *mut bindings::callback_head) {
        // SAFETY: The caller promises the node. `rcu` is the first field of a `repr(C)` struct.
        drop(unsafe { KBox::from_raw(rcu.cast::<Node<V>>()) });
    }

    /// Returns the nodes of a bucket.
    ///
    /// # Safety
    ///
    /// The table and the nodes that the bucket links must be valid for `'a`.
    unsafe fn list<'a>(
        table: &'a Table<V>,
        bucket: &'a AtomicPtr<Node<V>>,
    ) -> impl Iterator<Item = &'a Node<V>> {
        let link = table.link;
        // Acquire pairs with the release of the insertion.
        // SAFETY: The caller promises valid nodes.
        let load = move |at: &AtomicPtr<Node<V>>| unsafe { at.load(Ordering::Acquire).as_ref() };
        iter::successors(load(bucket), move |node| load(node.link(link)))
    }
}

/// An iterator over the values of a key.
///
/// # Invariants
///
/// `node` is null or points to a node that is not freed during `'a`.
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
            // SAFETY: By the type invariants, the node is not freed during `'a`.
            let node = unsafe { self.node.as_ref() }?;
            // Acquire pairs with the release of the insertion.
            // INVARIANT: The next node of the same list is not freed during `'a` either.
            self.node = node.link(self.link).load(Ordering::Acquire);
            if node.key == self.key {
                return Some(&node.value);
            }
        }
    }
}

impl<V: Send + Sync + 'static> Drop for RcuHash<V> {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, `table` comes from `KBox::into_raw`. With `&mut self`, there are no readers
        // and no other writers.
        let table = unsafe { KBox::from_raw(*self.table.get_mut()) };
        for bucket in &table.buckets {
            let mut node = bucket.load(Ordering::Relaxed);
            while !node.is_null() {
                // SAFETY: By the type invariants, the node comes from `KBox::into_raw`, and nobody else uses it.
                let owned = unsafe { KBox::from_raw(node) };
                node = owned.link(table.link).load(Ordering::Relaxed);
            }
        }
    }
}

/// Dropping it waits until every value removed from any table has been dropped. Sleeps.
pub(crate) struct Barrier;

impl Drop for Barrier {
    fn drop(&mut self) {
        // SAFETY: No requirements but a context that may sleep.
        unsafe { bindings::rcu_barrier() };
    }
}
