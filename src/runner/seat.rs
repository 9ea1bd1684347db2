//! Where a rank computes: its cores, its threads, its engine.

use std::sync::Arc;

use super::failure::{Failure, WRONG_INPUT};
use super::job::{End, Place};
use super::setup::{verdict, Seats};
use crate::binding::{self, bind_current_thread, plan_binding, Launcher, Mask};
use crate::comm::Link;
use crate::engine::tract::Tract;
use crate::engine::Engine;
use crate::spec::Spec;

/// One rank's place on its host.
pub struct Seat {
    /// Compute threads.
    pub threads: usize,
    /// Cores that they are bound to.
    pub cores: Mask,
}

/// Works out this rank's cores inside of the mask that the launcher gave.
///
/// # Errors
/// `End`: the spec asks for cores that some rank has not got.
pub fn take_seat(
    link: &mut dyn Link,
    place: &Place<'_>,
    spec: &Spec,
    seats: &Seats,
) -> Result<Seat, End> {
    let threads = |rank: usize| {
        let own = spec.ranks.get(rank).and_then(|own| own.threads);
        own.unwrap_or(spec.run.threads)
    };
    let threads: Vec<_> = (0..link.size()).map(threads).collect();
    let own = spec.ranks.get(link.rank().index());
    let asked = own.and_then(|own| own.cores.as_deref());
    sit(link, place, &threads, asked, seats)
}

/// Works out this rank's cores for so many compute threads of each rank: those asked for, or its
/// share of the mask that the launcher gave.
///
/// # Errors
/// As `take_seat`.
pub fn sit(
    link: &mut dyn Link,
    place: &Place<'_>,
    threads: &[usize],
    asked: Option<&[usize]>,
    seats: &Seats,
) -> Result<Seat, End> {
    let rank = link.rank().index();
    let all = seats.iter().zip(threads);
    let all: Vec<_> = all
        .map(|((host, mask), &threads)| (host.clone(), mask.clone(), threads))
        .collect();
    let among = binding::Place::among(&all, rank);
    let (launcher, ..) = Launcher::detect(|name| std::env::var(name).ok());
    let bound = plan_binding(&all[rank].1, asked, threads[rank], among, launcher);
    let bound =
        bound.map_err(|error| Failure::new(WRONG_INPUT, format!("ranks[{rank}].cores: {error}")));
    let bound = verdict(link, place, bound)?;
    if let Some(warning) = &bound.warning {
        // Once for each host: its ranks mostly have the same to say.
        if seats[..rank].iter().all(|(host, _)| *host != seats[rank].0) {
            log::warn!("{warning}");
        }
    }
    let mut cores: Vec<_> = bound.threads.into_iter().flatten().collect();
    cores.sort_unstable();
    cores.dedup();
    Ok(Seat {
        threads: threads[rank],
        cores: Mask(cores),
    })
}

impl Seat {
    /// Makes the engine for this rank's pieces; its threads inherit the calling thread's cores.
    pub fn engine(&self) -> impl FnOnce() -> anyhow::Result<Arc<dyn Engine>> + Send + 'static {
        let threads = self.threads;
        move || Ok(Arc::new(Tract::new(threads)?))
    }

    /// Binds the thread that it is called on, and the threads which that one starts.
    pub fn binder(&self) -> impl FnOnce() + Send + 'static {
        let cores = self.cores.0.clone();
        move || {
            if let Err(error) = bind_current_thread(&cores) {
                log::warn!("threads are not bound: {error:#}");
            }
        }
    }
}
