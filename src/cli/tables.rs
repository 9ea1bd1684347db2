//! The tables that `autodice split` writes beside the sub-models: AutoDiCE's, and a launcher's.

use std::path::Path;

use anyhow::{Context, Result};

use crate::graph::Graph;
use crate::plan::{sender_receiver, Plan};
use crate::platform::hostfile::{write_open_mpi, Host};
use crate::platform::rankfile::{write_rankfile, Place};
use crate::spec::Spec;

/// Writes `sender.json` and `receiver.json`; where every rank has a host also `hostfile`, and
/// where every one has cores, too, `rankfile` (for Open MPI: `-rf DIR/rankfile`, from release 5 on
/// `--map-by rankfile:file=DIR/rankfile`).
///
/// # Errors
/// One line that names the file.
pub fn write(dir: &Path, graph: &Graph, plan: &Plan, spec: &Spec) -> Result<()> {
    let put = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).with_context(|| format!("{}", path.display()))
    };
    let (sender, receiver) = sender_receiver(graph, plan, &keys(spec, plan.ranks.len()));
    put("sender.json", &format!("{sender}\n"))?;
    put("receiver.json", &format!("{receiver}\n"))?;
    let places: Option<Vec<_>> = spec.ranks.iter().map(|rank| rank.host.clone()).collect();
    let Some(names) = places.filter(|names| !names.is_empty()) else {
        return Ok(());
    };
    put("hostfile", &write_open_mpi(&hosts(&names)))?;
    let places = spec.ranks.iter().map(|rank| {
        Some(Place {
            host: rank.host.clone()?,
            cores: rank.cores.clone()?,
        })
    });
    match places.collect::<Option<Vec<_>>>() {
        Some(places) => put("rankfile", &write_rankfile(&places)),
        None => Ok(()),
    }
}

/// A name for each rank as AutoDiCE's mapping has it, `lenovo_cpu012`; `rank0` without a host.
fn keys(spec: &Spec, ranks: usize) -> Vec<String> {
    let key = |rank: usize| {
        let own = spec.ranks.get(rank)?;
        let cores = own.cores.as_ref()?;
        // AutoDiCE has one digit for each core.
        let digits: String = cores.iter().map(|core| core.to_string()).collect();
        let host = own.host.as_ref()?;
        cores
            .iter()
            .all(|&core| core < 10)
            .then(|| format!("{host}_cpu{digits}"))
    };
    (0..ranks)
        .map(|rank| key(rank).unwrap_or_else(|| format!("rank{rank}")))
        .collect()
}

/// Each host once, in the order of its first rank, with a slot for each of its ranks.
fn hosts(names: &[String]) -> Vec<Host> {
    let mut hosts: Vec<Host> = vec![];
    for name in names {
        match hosts.iter_mut().find(|host| host.name == *name) {
            Some(host) => host.slots = host.slots.map(|slots| slots + 1),
            None => hosts.push(Host {
                name: name.clone(),
                user: None,
                slots: Some(1),
            }),
        }
    }
    hosts
}
