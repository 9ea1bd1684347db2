//! What rank 0 reads and writes for all, and what all ranks know of each other.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::failure::{Failure, WRONG_INPUT};
use super::super::job::{End, Place};
use super::super::lead::folder_of;
use super::super::setup::{garbled, greet, greeted, pump, verdict};
use super::super::setup::{Seats, BUNDLE_LIMIT, NOTE_LIMIT};
use super::beside::{machine, sharing};
use super::constants::Travelling;
use super::file::{platform, Measured};
use super::links::RankLinks;
use super::log::RankTimes;
use super::unit::{different, Unit};
use super::{ProfileRequest, Profiled};
use crate::binding::{current_mask, Mask};
use crate::comm::collective::{broadcast_bytes, gather_bytes};
use crate::comm::{Link, Mailbox};
use crate::graph::{check_graph, Graph};
use crate::ids::Rank;
use crate::model::read::read;
use crate::platform::{Platform, MAX_BYTES};

/// Rank 0's files.
pub struct Lead {
    told: Told,
    old: Option<Platform>,
}

/// What rank 0 tells the others.
#[derive(Clone, Serialize, Deserialize)]
struct Told {
    graph: Graph,
    constants: Travelling,
    budget: Duration,
    /// Compute threads that the platform file gives to hosts.
    threads: Vec<(String, usize)>,
}

/// What every rank knows of the job.
pub struct Common {
    /// The model.
    pub graph: Graph,
    /// Its different works.
    pub units: Vec<Unit>,
    /// Its constants, as far as they travel.
    pub constants: Travelling,
    /// About how long to measure.
    pub budget: Duration,
    threads: Vec<(String, usize)>,
}

/// All ranks: where they are, and on how many threads they compute.
#[derive(Default)]
pub struct Crowd {
    /// Hosts and masks, by rank.
    pub seats: Seats,
    /// Compute threads, by rank.
    pub threads: Vec<usize>,
    /// Which kernel they run under, by rank.
    pub machines: Vec<u64>,
}

impl Crowd {
    /// The hosts in the order of their first ranks, with their ranks.
    pub fn hosts(&self) -> Vec<(String, Vec<Rank>)> {
        let mut hosts: Vec<(String, Vec<Rank>)> = vec![];
        for (rank, (host, _)) in self.seats.iter().enumerate() {
            match hosts.iter_mut().find(|(name, _)| name == host) {
                Some((_, ranks)) => ranks.push(Rank::new(rank)),
                None => hosts.push((host.clone(), vec![Rank::new(rank)])),
            }
        }
        hosts
    }

    /// A name for the one core that a host's one rank has, where others have it too: that of the
    /// first of them.
    pub fn core(&self, ranks: &[Rank]) -> Option<String> {
        let on = |rank: usize| (&self.seats[rank].1, self.machines[rank]);
        let own = on(ranks.first()?.index());
        let mut same = (0..self.seats.len()).filter(|&rank| on(rank) == own);
        let (first, _) = (same.next()?, same.next()?);
        let alone = ranks.len() == 1 && own.0.count() == 1;
        alone.then(|| format!("{}-core{}", self.seats[first].0, own.0 .0[0]))
    }

    /// How many times as many messages interrupt a rank's Runs in a job as in talk with one other.
    pub fn sharing(&self, own: Rank, other: Rank) -> f64 {
        let masks = self.seats.iter().map(|(_, mask)| mask);
        let ranks: Vec<_> = masks.zip(self.machines.iter().copied()).collect();
        let pair = [ranks[own.index()], ranks[other.index()]];
        sharing(ranks[own.index()], &ranks) / sharing(pair[0], &pair).max(1.0)
    }
}

/// Rank 0 reads the model and the platform file that is there.
///
/// # Errors
/// `Failure`: one line that names the file.
pub fn prepare(request: &ProfileRequest) -> Result<Lead, Failure> {
    let wrong = |error: anyhow::Error| Failure::input(&error);
    let old = old_platform(&request.output)?;
    let source = read(&request.model, &request.shapes).map_err(wrong)?;
    let constants = Travelling::read(&source.graph, &source).map_err(wrong)?;
    let known = old.iter().flat_map(|old| &old.hosts);
    let threads = known.filter_map(|host| Some((host.name.clone(), host.threads?)));
    let told = Told {
        threads: threads.collect(),
        constants,
        budget: request.budget,
        graph: source.graph,
    };
    Ok(Lead { told, old })
}

/// The file that is there, where there is one; and whether one can be written at all.
fn old_platform(path: &Path) -> Result<Option<Platform>, Failure> {
    let shown = path.display().to_string();
    let wrong = |line: String| Failure::new(WRONG_INPUT, line);
    if !folder_of(path).is_dir() || path.is_dir() {
        return Err(wrong(format!(
            "{shown}: expected a file in a folder that is there"
        )));
    }
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(format!("{shown}: {error}"))),
    };
    let old = Platform::parse(&shown, &text);
    old.map(Some).map_err(|error| wrong(error.to_string()))
}

/// Every rank gets the model's facts.
pub fn share(link: &mut dyn Link, place: &Place<'_>, lead: Option<&Lead>) -> Result<Common, End> {
    let bytes = lead.map(|lead| greet(&lead.told)).unwrap_or_default();
    let bytes = {
        let mut mail = Mailbox::new(&mut *link);
        broadcast_bytes(&mut mail, bytes, BUNDLE_LIMIT, &mut pump())?
    };
    let common = greeted::<Told>(&bytes).and_then(|told| {
        check_graph(&told.graph).map_err(|error| garbled(&error))?;
        Ok(Common {
            units: different(&told.graph),
            graph: told.graph,
            constants: told.constants,
            budget: told.budget,
            threads: told.threads,
        })
    });
    verdict(link, place, common)
}

/// Every rank learns of every rank.
pub fn meet(
    link: &mut dyn Link,
    place: &Place<'_>,
    common: &Common,
    threads: Option<usize>,
) -> Result<Crowd, End> {
    let known = common.threads.iter().find(|(host, _)| *host == place.host);
    let threads = threads.or(known.map(|&(_, threads)| threads)).unwrap_or(1);
    let own = current_mask().map(|mask| (place.host.clone(), mask, threads, machine()));
    let own = verdict(link, place, own.map_err(|error| Failure::input(&error)))?;
    let all = tell(link, place, &own)?;
    let bytes = postcard::to_stdvec(&all).expect("plain data serialises");
    let bytes = {
        let mut mail = Mailbox::new(&mut *link);
        broadcast_bytes(&mut mail, bytes, NOTE_LIMIT, &mut pump())?
    };
    let all: Result<Vec<(String, Mask, usize, u64)>, _> = postcard::from_bytes(&bytes);
    let all = all.map_err(|error| garbled(&error))?;
    let mut crowd = Crowd::default();
    for (host, mask, threads, machine) in all {
        crowd.seats.push((host, mask));
        crowd.threads.push(threads);
        crowd.machines.push(machine);
    }
    Ok(crowd)
}

/// Rank 0 gets what every rank has to tell, in the order of the ranks; the others get nothing.
pub fn tell<T>(link: &mut dyn Link, place: &Place<'_>, own: &T) -> Result<Vec<T>, End>
where
    T: Serialize + serde::de::DeserializeOwned,
{
    let bytes = postcard::to_stdvec(own).expect("plain data serialises");
    let gathered = {
        let mut mail = Mailbox::new(&mut *link);
        gather_bytes(&mut mail, bytes, NOTE_LIMIT, &mut pump())?
    };
    let read = |bytes: &Vec<u8>| postcard::from_bytes(bytes).map_err(|error| garbled(&error));
    let all: Result<Vec<T>, Failure> = gathered.iter().map(read).collect();
    verdict(link, place, all)
}

impl Lead {
    /// Puts together what the ranks found, and writes it.
    ///
    /// # Errors
    /// `Failure` where the file cannot be written, or would not read back.
    pub fn write(
        self,
        common: &Common,
        crowd: &Crowd,
        found: Vec<(RankTimes, RankLinks)>,
        started: Instant,
        request: &ProfileRequest,
    ) -> Result<Profiled, Failure> {
        let mut found: Vec<_> = found.into_iter().map(Some).collect();
        let mut of = |rank: &Rank| found.get_mut(rank.index()).and_then(Option::take);
        let hosts = crowd.hosts();
        let measured: Vec<_> = hosts
            .iter()
            .map(|(name, ranks)| Measured {
                name: name.clone(),
                core: crowd.core(ranks),
                ranks: ranks.iter().filter_map(&mut of).collect(),
            })
            .collect();
        let mut platform = platform(&common.graph, &common.units, &measured, self.old);
        for (key, value) in about(common, started, request) {
            platform.profiled.retain(|(old, _)| old != key);
            platform.profiled.push((key.into(), value));
        }
        write(&request.output, &platform)?;
        let hosts = hosts.into_iter().map(|(name, _)| name).collect();
        Ok(Profiled { platform, hosts })
    }
}

fn about(
    common: &Common,
    started: Instant,
    request: &ProfileRequest,
) -> [(&'static str, String); 5] {
    let graph = postcard::to_stdvec(&common.graph).expect("plain data serialises");
    let model = request.model.file_name().unwrap_or_default();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    [
        ("by", format!("autodice {}", env!("CARGO_PKG_VERSION"))),
        (
            "unix_time_s",
            now.map_or(0, |now| now.as_secs()).to_string(),
        ),
        ("model", model.to_string_lossy().into_owned()),
        (
            "model_hash",
            blake3::hash(&graph).to_hex()[..16].to_string(),
        ),
        (
            "took_s",
            format!(
                "{:.1} of about {:.0}",
                started.elapsed().as_secs_f64(),
                common.budget.as_secs_f64()
            ),
        ),
    ]
}

/// Writes the file beside and moves it into its place: whoever reads meanwhile sees the old one.
fn write(path: &Path, platform: &Platform) -> Result<(), Failure> {
    let shown = path.display().to_string();
    let text = platform.to_yaml();
    // A host that an entry with a count stands for already, say.
    let read_back = Platform::parse(&shown, &text).map_err(|error| error.to_string());
    let fits = read_back.and_then(|_| match text.len() <= MAX_BYTES {
        true => Ok(()),
        false => Err(format!("{shown}: longer than {MAX_BYTES} bytes")),
    });
    fits.map_err(|line| {
        let line = format!("what was measured does not fit in: {line}: write to another file");
        Failure::new(WRONG_INPUT, line)
    })?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let written = std::fs::File::create(&beside)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| Failure::running(format!("{shown}: {error}")))
}
