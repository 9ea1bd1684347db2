//! The hwloc library: the one file that speaks it.

use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{bail, Context, Result};
use hwloc2::{Bitmap, CpuBindError, CpuBindFlags, Topology};

/// Looking at the machine takes milliseconds: once for all threads.
static TOPOLOGY: OnceLock<Option<Mutex<Topology>>> = OnceLock::new();

fn with_topology<T>(look: impl FnOnce(&mut Topology) -> T) -> Option<T> {
    let topology = TOPOLOGY
        .get_or_init(|| Topology::new().map(Mutex::new))
        .as_ref()?;
    let mut topology = topology.lock().unwrap_or_else(PoisonError::into_inner);
    Some(look(&mut topology))
}

/// The cores that the calling thread may use; none where hwloc does not know.
pub(super) fn current() -> Option<Vec<usize>> {
    let set = with_topology(|topology| topology.get_cpubind(CpuBindFlags::CPUBIND_THREAD))??;
    // A set without an end means "anywhere"; walking it would not end.
    let last = set.last();
    if last < 0 {
        return None;
    }
    Some(set.into_iter().map(|core| core as usize).collect())
}

/// Keeps the calling thread on these cores.
pub(super) fn bind(cores: &[usize]) -> Result<()> {
    let mut set = Bitmap::new();
    for &core in cores {
        set.set(u32::try_from(core).context("cannot bind to a core beyond 32 bits")?);
    }
    let flags = CpuBindFlags::CPUBIND_THREAD;
    match with_topology(|topology| topology.set_cpubind(set, flags)) {
        Some(Ok(())) => Ok(()),
        // The error has no text of its own for users.
        Some(Err(CpuBindError::Generic(_, why))) => bail!("cannot bind to cores {cores:?}: {why}"),
        None => bail!("cannot bind to cores {cores:?}: hwloc does not know this machine"),
    }
}
