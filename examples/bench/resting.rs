//! What memory costs that was left alone for a while.
//!
//! The host of a virtual machine may take mappings of guest memory away, to see which is in use.
//! The next touch stalls until it is mapped again, in the middle of a Run and as CPU time of its
//! thread. A probe in the first cache sees nothing of it, nor does one that reads the same memory
//! all the time.

#![allow(unsafe_code)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::lab::{collect, probe, Case, Quota, Rule, Sample};
use crate::ranks::take_core;
use crate::record::{Bar, Record};

/// How long memory is left alone, in milliseconds.
const ALONE: [u64; 3] = [10, 100, 1000];
/// Bytes, as many as the weights of a part.
const ALL: usize = 64 << 20;
const SMALL: usize = 4 << 10;
const HUGE: usize = 2 << 20;
/// A touch that takes longer than any cache, any walk of page tables and most interrupts.
const STALL: Duration = Duration::from_micros(30);

/// The part.
///
/// # Errors
/// Where a core cannot be taken.
pub fn resting(quota: Quota) -> Result<Record> {
    take_core(1)?;
    let (mut samples, mut bars) = (vec![], vec![]);
    for (page, pages) in [(SMALL, "small"), (HUGE, "huge")] {
        let memory = Memory::new(page);
        for (wait, waits) in [(sleep as fn(Duration), "asleep"), (spin, "busy")] {
            for ms in ALONE {
                let name = format!("64 MiB in {pages} pages, {ms} ms {waits}");
                memory.touch();
                samples.extend(collect(quota, |_| {
                    let before = probe();
                    wait(Duration::from_millis(ms));
                    let stalls = memory.touch();
                    let lost = stalls.iter().sum::<Duration>().as_secs_f64() * 1e3;
                    let values = [("lost_ms", lost), ("stalls", stalls.len() as f64)];
                    Ok(Sample::new(
                        &name,
                        Rule::None,
                        vec![(before, probe())],
                        &values,
                    ))
                })?);
                let case = Case::of(&samples, &name);
                let lost = (|case: &Case<'_>| case.median("lost_ms"), " ms in stalls");
                bars.push(Bar::judged((&name, ""), &case, lost, |_| true));
            }
        }
    }
    let how = "One thread on one core leaves 64 MiB alone, then reads one number of each page (4 KiB or \
         2 MiB); what takes longer than 30 µs is a stall. Huge pages are asked for by madvise and may \
         be refused, or there are none.";
    Ok(Record {
        part: "resting",
        how: how.into(),
        bars,
        samples,
        notes: vec![],
    })
}

/// Leaves the core to others.
pub fn sleep(time: Duration) {
    std::thread::sleep(time);
}

/// Keeps it, with nothing to compute.
pub fn spin(time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// Memory in pages of one size.
struct Memory {
    cells: Vec<u8>,
    page: usize,
}

impl Memory {
    fn new(page: usize) -> Self {
        let mut cells: Vec<u8> = Vec::with_capacity(ALL + HUGE);
        #[cfg(target_os = "linux")]
        {
            let advice = match page {
                HUGE => libc::MADV_HUGEPAGE,
                _ => libc::MADV_NOHUGEPAGE,
            };
            let start = cells.as_mut_ptr();
            let skipped = start.align_offset(SMALL);
            // SAFETY: advice on whole pages of memory that this owns, and refused at worst.
            unsafe { libc::madvise(start.add(skipped).cast(), ALL + HUGE - SMALL, advice) };
        }
        cells.resize(ALL + HUGE, 1);
        Self { cells, page }
    }

    /// Reads one number of each page. Returns how long each stall took.
    fn touch(&self) -> Vec<Duration> {
        let pages = black_box(&self.cells[self.cells.as_ptr().align_offset(HUGE)..][..ALL]);
        let mut stalls = vec![];
        let mut before = Instant::now();
        for page in pages.chunks_exact(self.page) {
            black_box(page[0]);
            let after = Instant::now();
            if after - before > STALL {
                stalls.push(after - before);
            }
            before = after;
        }
        stalls
    }
}
