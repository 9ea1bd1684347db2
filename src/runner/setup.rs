//! Set-up: from rank 0's files to the same plan on every rank.

use std::sync::Arc;
use std::thread::JoinHandle;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::failure::{panic_message, Failure, DEFECT, WRONG_INPUT};
use super::frame::Program;
use super::idle::Idle;
use super::job::{End, Place};
use crate::binding::{current_mask, Mask};
use crate::comm::collective::{agree, agree_hash, broadcast_bytes, gather_bytes};
use crate::comm::{Link, Mailbox};
use crate::graph::{check_graph, Graph};
use crate::ids::Rank;
use crate::plan::{check, compile, stages, warnings, Plan};
use crate::platform::match_roles;
use crate::spec::{yaml, Spec};

/// Changes with every change of what ranks say to each other.
pub const WIRE: u32 = 1;
/// Most bytes of spec and graph that a rank takes in.
pub const BUNDLE_LIMIT: u64 = 64 << 20;
/// Most bytes of one rank's name, report or list of roles.
pub const NOTE_LIMIT: u64 = 4 << 20;

/// What rank 0 tells the others, behind a greeting that says whether it can be read.
#[derive(Serialize, Deserialize)]
pub struct Bundle {
    /// The spec's file, for messages.
    pub spec_file: String,
    /// The spec, as written.
    pub spec_text: String,
    /// The model's facts.
    pub graph: Graph,
    /// Whether every rank reads its own folder beside the spec instead of messages.
    pub from_folder: bool,
}

/// What a rank knows once it has read the bundle.
pub struct Ready {
    /// The spec.
    pub spec: Spec,
    /// The model's facts.
    pub graph: Graph,
    /// Whether every rank reads its own folder.
    pub from_folder: bool,
    /// The spec's file, for messages.
    pub spec_file: String,
}

impl Bundle {
    /// The bundle as bytes: wire version, package version, content.
    pub fn encode(&self) -> Vec<u8> {
        greet(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Failure> {
        let bundle: Self = greeted(bytes)?;
        check_graph(&bundle.graph).map_err(|error| garbled(&error))?;
        Ok(bundle)
    }
}

/// What rank 0 tells the others, behind a greeting that says whether it can be read.
pub fn greet<T: Serialize>(bundle: &T) -> Vec<u8> {
    let mut bytes = greeting();
    bytes.extend(postcard::to_stdvec(bundle).expect("plain data serialises"));
    bytes
}

/// What rank 0 told.
///
/// # Errors
/// `Failure` where it runs another version, or the bytes are something else.
pub fn greeted<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Failure> {
    let Some(rest) = bytes.strip_prefix(&greeting()[..]) else {
        let own = env!("CARGO_PKG_VERSION");
        let line = format!(
            "rank 0 runs another version of autodice than {own} (wire {WIRE}): \
             install the same on all hosts"
        );
        return Err(Failure::new(WRONG_INPUT, line));
    };
    postcard::from_bytes(rest).map_err(|error| garbled(&error))
}

/// A message of rank 0's that is not what it must be.
pub fn garbled(error: &dyn std::fmt::Display) -> Failure {
    Failure::new(DEFECT, format!("rank 0's message: {error}"))
}

fn greeting() -> Vec<u8> {
    let mut bytes = WIRE.to_le_bytes().to_vec();
    bytes.extend(env!("CARGO_PKG_VERSION").as_bytes());
    bytes.push(0);
    bytes
}

/// Waits a little, whenever a step of set-up has nothing to take in.
pub fn pump<L: Link>() -> impl FnMut(&mut Mailbox<L>) -> Result<(), End> {
    let idle = Idle::new(false);
    move |_| {
        idle.wait();
        Ok(())
    }
}

/// All ranks agree on the lowest failing one; it prints its line, and all leave with its code.
///
/// # Errors
/// `End::Agreed` where any rank failed; `End::Abort` where the link did.
pub fn verdict<T>(
    link: &mut dyn Link,
    place: &Place<'_>,
    own: Result<T, Failure>,
) -> Result<T, End> {
    let rank = link.rank();
    let code = own
        .as_ref()
        .err()
        .map(|failure| u8::try_from(failure.code).unwrap_or(1));
    let lowest = agree(&mut Mailbox::new(link), code, &mut pump())?;
    match (lowest, own) {
        (None, Ok(value)) => Ok(value),
        (None, Err(failure)) => Err(End::Abort(failure)),
        (Some(failing), own) => {
            if let (true, Err(failure)) = (failing.rank == rank, &own) {
                place.say(rank, failure);
            }
            Err(End::Agreed(i32::from(failing.code)))
        }
    }
}

/// Does something slow on a thread of its own while the link is polled.
///
/// # Errors
/// `End::Abort` where the link failed.
pub fn aside<T: Send + 'static>(
    link: &mut dyn Link,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<Result<T, Failure>, End> {
    let worker = spawn(work);
    let mut mail = Mailbox::new(link);
    super::deploy::until(&mut mail, |_| Ok(worker.is_finished()))?;
    Ok(join(worker))
}

/// Rank 0 reads what only it has, aside; all agree on whether that worked.
///
/// # Errors
/// `End`: rank 0 could not read it, or the link failed.
pub fn on_lead<T: Send + 'static>(
    link: &mut dyn Link,
    place: &Place<'_>,
    read: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<Option<T>, End> {
    let own = match link.rank() {
        Rank(0) => aside(link, read)?.map(Some),
        _ => Ok(None),
    };
    verdict(link, place, own)
}

/// Starts work whose end wakes the calling thread.
pub fn spawn<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> JoinHandle<Result<T, Failure>> {
    let main = std::thread::current();
    std::thread::spawn(move || {
        let done = work();
        main.unpark();
        done
    })
}

/// What a thread came back with; a panic is a defect.
pub fn join<T>(worker: JoinHandle<Result<T, Failure>>) -> Result<T, Failure> {
    worker.join().unwrap_or_else(|payload| {
        Err(Failure::new(
            DEFECT,
            format!("panicked: {}", panic_message(&*payload)),
        ))
    })
}

/// Every rank gets rank 0's spec and graph.
///
/// # Errors
/// `End`: a version differs, or the link failed.
pub fn share(link: &mut dyn Link, place: &Place<'_>, bundle: Vec<u8>) -> Result<Ready, End> {
    let bytes = {
        let mut mail = Mailbox::new(&mut *link);
        broadcast_bytes(&mut mail, bundle, BUNDLE_LIMIT, &mut pump())?
    };
    let ready = Bundle::decode(&bytes).and_then(|bundle| {
        let Bundle {
            spec_file,
            spec_text,
            graph,
            from_folder,
        } = bundle;
        let spec = yaml::parse(&spec_file, &spec_text);
        let spec = spec.map_err(|error| Failure::new(WRONG_INPUT, error.to_string()))?;
        Ok(Ready {
            spec,
            graph,
            from_folder,
            spec_file,
        })
    });
    verdict(link, place, ready)
}

/// Every rank's host and the cores that its launcher gave it, by rank.
pub type Seats = Vec<(String, Mask)>;

/// Which role each process plays, and where it is; the same on all ranks.
///
/// # Errors
/// `End`: there are more or fewer processes than ranks, or none on a host that the spec names; or
/// the link failed.
pub fn cast(
    link: &mut dyn Link,
    place: &Place<'_>,
    ready: &Ready,
) -> Result<(Vec<usize>, Seats), End> {
    let size = link.size();
    let own = current_mask().map(|mask| (place.host.clone(), mask));
    let own = verdict(link, place, own.map_err(|error| Failure::input(&error)))?;
    let own = postcard::to_stdvec(&own).expect("plain data serialises");
    let gathered = {
        let mut mail = Mailbox::new(&mut *link);
        gather_bytes(&mut mail, own, NOTE_LIMIT, &mut pump())?
    };
    let matched = match gathered.is_empty() {
        true => Ok((vec![], vec![])),
        false => match_all(ready, size, &gathered),
    };
    let matched = verdict(link, place, matched)?;
    let bytes = postcard::to_stdvec(&matched).expect("plain data serialises");
    let bytes = {
        let mut mail = Mailbox::new(&mut *link);
        broadcast_bytes(&mut mail, bytes, NOTE_LIMIT, &mut pump())?
    };
    let (roles, seats): (Vec<usize>, Seats) = postcard::from_bytes(&bytes)
        .map_err(|error| Failure::new(DEFECT, format!("rank 0's roles: {error}")))?;
    let mut sorted = roles.clone();
    sorted.sort_unstable();
    if sorted != (0..size).collect::<Vec<_>>() || seats.len() != size {
        return Err(Failure::new(DEFECT, "rank 0's roles are no permutation").into());
    }
    Ok((roles, seats))
}

/// Rank 0: roles by process, seats by role.
fn match_all(
    ready: &Ready,
    size: usize,
    gathered: &[Vec<u8>],
) -> Result<(Vec<usize>, Seats), Failure> {
    let spec = &ready.spec;
    let seats: Result<Seats, _> = gathered
        .iter()
        .map(|bytes| postcard::from_bytes(bytes))
        .collect();
    let seats = seats.map_err(|error| Failure::new(DEFECT, format!("a rank's seat: {error}")))?;
    let hosts: Vec<_> = seats.iter().map(|(host, _)| host.clone()).collect();
    let mut wanted: Vec<_> = spec.ranks.iter().map(|rank| rank.host.clone()).collect();
    wanted.resize(spec.rank_count(), None);
    if wanted.iter().all(Option::is_none) {
        check_size(ready, size)?;
    }
    let roles = match_roles(&wanted, &hosts).map_err(|line| Failure::new(WRONG_INPUT, line))?;
    let mut by_role = seats.clone();
    for (process, &role) in roles.iter().enumerate() {
        by_role[role] = seats[process].clone();
    }
    Ok((roles, by_role))
}

/// Whether there are as many processes as ranks.
fn check_size(ready: &Ready, size: usize) -> Result<(), Failure> {
    let needed = ready.spec.rank_count();
    if needed == size {
        return Ok(());
    }
    let line = format!(
        "{}: {needed} ranks in the spec, {size} started: mpirun -np {needed} …",
        ready.spec_file
    );
    Err(Failure::new(WRONG_INPUT, line))
}

/// Compiles and checks the plan on every rank, and makes sure that it is the same one.
///
/// # Errors
/// `End`: the spec does not fit the model or the world, or plans differ.
pub fn agree_on_plan(
    link: &mut dyn Link,
    place: &Place<'_>,
    ready: &Arc<Ready>,
) -> Result<Arc<Program>, End> {
    let (rank, size) = (link.rank(), link.size());
    let own = Arc::clone(ready);
    // A large model takes a while, in which signs of life are due.
    let program = aside(link, move || {
        let (graph, plan) = (own.graph.clone(), plan_of(&own, size)?);
        Ok(Arc::new(Program { graph, plan, rank }))
    })?;
    let program = verdict(link, place, program)?;
    let differs = {
        let mut mail = Mailbox::new(&mut *link);
        agree_hash(&mut mail, program.plan.hash(), &mut pump())?
    };
    let own = match differs {
        Some(rank) if rank == link.rank() => Err(Failure::new(
            DEFECT,
            "this rank compiled another plan than rank 0",
        )),
        _ => Ok(program),
    };
    let program = verdict(link, place, own)?;
    if rank.index() == 0 {
        warn(ready, &program.plan);
    }
    Ok(program)
}

/// Says what may surprise whoever wrote the spec.
fn warn(ready: &Ready, plan: &Plan) {
    // Names that do not fit were refused when the plan was compiled.
    let stages = stages(&ready.graph, &ready.spec).unwrap_or_default();
    for line in warnings(plan, &stages) {
        log::warn!("{}: {line}", ready.spec_file);
    }
}

/// The checked plan of a spec for a world of `size` ranks.
///
/// # Errors
/// `Failure` of the user's: what does not fit, and the command line that would.
pub fn plan_of(ready: &Ready, size: usize) -> Result<Plan, Failure> {
    let wrong = |line: String| Failure::new(WRONG_INPUT, line);
    check_size(ready, size)?;
    let plan = compile(&ready.graph, &ready.spec)
        .map_err(|error| wrong(format!("{}: {error}", ready.spec_file)))?;
    let mut limits: Vec<_> = ready
        .spec
        .ranks
        .iter()
        .map(|rank| rank.memory_mb.map(|mb| mb << 20))
        .collect();
    limits.resize(size, None);
    check(&ready.graph, &plan, Some(&limits)).map_err(|error| wrong(error.to_string()))?;
    Ok(plan)
}
