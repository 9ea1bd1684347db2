//! What a core has forgotten after a sleep.
//!
//! A quota, or the wait for a message, lets a core rest for some milliseconds. On a virtual machine
//! others use the caches meanwhile, and reading memory takes more CPU time than before, in small
//! pages far more than in huge ones. A probe in the first cache sees nothing of it.

#![allow(unsafe_code)]

use std::hint::black_box;
use std::time::Duration;

use anyhow::Result;
use rustix::time::{clock_gettime, ClockId};

use crate::lab::{collect, probe, Case, Quota, Rule, Sample};
use crate::ranks::take_core;
use crate::record::{Bar, Record};

/// Sleeps, in milliseconds.
const SLEEPS: [u64; 4] = [0, 2, 8, 30];
/// Bytes read after each sleep, as many as a layer's weights, and of which they are the next ones:
/// more than a core's own cache, and more than a shared one.
const READ: usize = 4 << 20;
const ALL: usize = 256 << 20;
/// Reads of a sample.
const READS: usize = 40;

/// The part.
///
/// # Errors
/// Where a core cannot be taken.
pub fn after_sleep(quota: Quota) -> Result<Record> {
    take_core(1)?;
    let (mut samples, mut bars) = (vec![], vec![]);
    for huge in [false, true] {
        let mut memory = Memory::new(huge);
        for ms in SLEEPS {
            let pages = if huge { "huge pages" } else { "small pages" };
            let name = format!("4 MiB after {ms} ms, {pages}");
            samples.extend(collect(quota, |_| {
                let before = probe();
                let us = (0..READS).map(|_| memory.read_after(ms)).sum::<f64>() / READS as f64;
                let probes = vec![(before, probe())];
                Ok(Sample::new(&name, Rule::None, probes, &[("cpu_us", us)]))
            })?);
            let case = Case::of(&samples, &name);
            let cpu = (|case: &Case<'_>| case.median("cpu_us"), " µs of CPU");
            bars.push(Bar::judged((&name, ""), &case, cpu, |_| true));
        }
    }
    let how =
        "One thread on one core sleeps, then reads the next 4 MiB of 256; a sample is the mean \
               of 40 such reads. Huge pages are asked for by madvise and may be refused, or there are none."
            .into();
    Ok(Record {
        part: "after-sleep",
        how,
        bars,
        samples,
        notes: vec![],
    })
}

struct Memory {
    cells: Vec<f32>,
    next: usize,
}

impl Memory {
    #[cfg_attr(not(target_os = "linux"), allow(unused_variables, unused_mut))]
    fn new(huge: bool) -> Self {
        let mut cells: Vec<f32> = Vec::with_capacity(ALL / 4);
        #[cfg(target_os = "linux")]
        if huge {
            // SAFETY: advice on memory that this owns; refused where it is not of whole pages.
            unsafe {
                let start = cells.as_mut_ptr().cast::<u8>();
                let skipped = start.align_offset(1 << 21);
                libc::madvise(
                    start.add(skipped).cast(),
                    ALL - skipped,
                    libc::MADV_HUGEPAGE,
                );
            }
        }
        cells.resize(ALL / 4, 1.0);
        Self { cells, next: 0 }
    }

    /// µs of CPU.
    fn read_after(&mut self, ms: u64) -> f64 {
        std::thread::sleep(Duration::from_millis(ms));
        let before = cpu_us();
        let mut sums = [0.0_f32; 64];
        for cells in black_box(&self.cells[self.next..][..READ / 4]).chunks_exact(sums.len()) {
            for (sum, cell) in sums.iter_mut().zip(cells) {
                *sum += cell;
            }
        }
        black_box(sums);
        self.next = (self.next + READ / 4) % (ALL / 4);
        cpu_us() - before
    }
}

fn cpu_us() -> f64 {
    let at = clock_gettime(ClockId::ThreadCPUTime);
    at.tv_sec as f64 * 1e6 + at.tv_nsec as f64 / 1e3
}
