// SPDX-License-Identifier: GPL-2.0

//! Threads that keep a host busy.

use crate::lab::Host;
use anyhow::{anyhow, Context, Result};
use fastrand::Rng;
use std::{
    mem,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        Arc,
    },
    thread::{self, JoinHandle},
};

/// Threads that repeat their work until they are stopped.
pub(crate) struct Workers {
    stop: Arc<AtomicBool>,
    threads: Vec<Worker>,
}

struct Worker {
    name: &'static str,
    count: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

impl Workers {
    /// Starts with no thread.
    pub(crate) fn new() -> Self {
        Self {
            stop: Arc::new(AtomicBool::new(false)),
            threads: Vec::new(),
        }
    }

    /// Starts a thread in the namespace of a host.
    pub(crate) fn start(
        &mut self,
        name: &'static str,
        host: &Host,
        mut work: impl FnMut(&mut Rng) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let (stop, count) = (self.stop.clone(), Arc::new(AtomicU64::new(0)));
        let mut rng = Rng::with_seed(self.threads.len() as u64);
        let thread = host.enter(|| {
            thread::spawn({
                let count = count.clone();
                move || {
                    while !stop.load(Relaxed) {
                        work(&mut rng)?;
                        count.fetch_add(1, Relaxed);
                    }
                    Ok(())
                }
            })
        })?;
        self.threads.push(Worker {
            name,
            count,
            thread,
        });
        Ok(())
    }

    /// Stops all threads. Returns how often each has done its work.
    pub(crate) fn end(mut self) -> Result<Vec<(&'static str, u64)>> {
        self.stop.store(true, Relaxed);
        let mut counts = Vec::new();
        for Worker {
            name,
            count,
            thread,
        } in mem::take(&mut self.threads)
        {
            thread
                .join()
                .map_err(|_| anyhow!("panicked"))
                .and_then(|result| result)
                .with_context(|| format!("{name}, after {} times", count.load(Relaxed)))?;
            counts.push((name, count.load(Relaxed)));
        }
        Ok(counts)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
    }
}
