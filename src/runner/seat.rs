//! Where a rank computes: its cores, its threads, its engine.

use std::sync::Arc;

use super::failure::{Failure, WRONG_INPUT};
use super::job::{End, Place};
use super::setup::verdict;
use crate::binding::{bind_current_thread, current_mask, plan_binding, Binding};
use crate::comm::Link;
use crate::engine::tract::Tract;
use crate::engine::Engine;
use crate::spec::Spec;

/// One rank's place on its host.
pub struct Seat {
    /// Compute threads.
    pub threads: usize,
    /// Cores that they are bound to.
    pub binding: Binding,
}

/// Works out this rank's cores inside of the mask that the launcher gave.
///
/// # Errors
/// `End`: the spec asks for cores that some rank has not got.
pub fn take_seat(
    link: &mut dyn Link,
    place: &Place<'_>,
    spec: &Spec,
    hosts: &[String],
) -> Result<Seat, End> {
    let rank = link.rank().index();
    let own = spec.ranks.get(rank);
    let threads = own.and_then(|own| own.threads).unwrap_or(spec.run.threads);
    let neighbours = hosts.iter().filter(|&host| *host == hosts[rank]).count();
    let before = hosts[..rank].iter().filter(|&host| *host == hosts[rank]).count();
    let cores = own.and_then(|own| own.cores.as_deref());
    let seat = plan_binding(&current_mask(), cores, threads, before, neighbours)
        .map(|binding| Seat { threads, binding })
        .map_err(|error| {
            Failure::new(WRONG_INPUT, format!("{}: ranks[{rank}].cores: {error}", spec.model.display()))
        });
    let seat = verdict(link, place, seat)?;
    if let Some(warning) = &seat.binding.warning {
        log::warn!("{warning}");
    }
    Ok(seat)
}

impl Seat {
    /// The engine for this rank's pieces.
    pub fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Tract { threads: self.threads })
    }

    /// Binds the thread that it is called on, and the threads which that one starts.
    pub fn binder(&self) -> impl FnOnce() + Send + 'static {
        let cores = self.binding.cores.clone();
        move || {
            if let Err(error) = bind_current_thread(&cores) {
                log::warn!("threads are not bound: {error:#}");
            }
        }
    }

    /// The cores for people, e.g. `0-3`.
    pub fn cores(&self) -> String {
        crate::binding::describe(&self.binding.cores)
    }
}
