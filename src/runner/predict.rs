//! What the run that is about to start would take by a platform file, worked out by rank 0.

use std::path::Path;
use std::sync::Arc;

use super::failure::{Failure, WRONG_INPUT};
use super::frame::Program;
use super::job::{End, Place, Request};
use super::lead::Lead;
use super::setup::{aside, verdict, Seats};
use crate::comm::Link;
use crate::cost::{cost, Asked, Cost};
use crate::platform::{Platform, MAX_BYTES};

/// Frames times ranks that are replayed at most, a second's work or less; what a pipeline does is
/// known long before.
const REPLAYED: u64 = 10_000;

/// A run's prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Predicted {
    /// The platform file, as given.
    pub platform: String,
    /// What the run would take on it.
    pub cost: Cost,
}

/// Reads a platform file.
///
/// # Errors
/// `Failure` of the user's: one line with the file and the place in it.
pub fn read_platform(path: &Path) -> Result<Platform, Failure> {
    let shown = path.display().to_string();
    let wrong = |line: String| Failure::new(WRONG_INPUT, line);
    let text = read_text(path).map_err(|error| wrong(format!("{shown}: {error}")))?;
    Platform::parse(&shown, &text).map_err(|error| wrong(error.to_string()))
}

/// A file's text; of one that is too long, enough for the parser to say so.
fn read_text(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = vec![];
    let file = std::fs::File::open(path)?;
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut text)?;
    let not_text = |_| std::io::Error::other("not UTF-8 text");
    match text.len() > MAX_BYTES {
        true => Ok(String::from_utf8_lossy(&text).into_owned()),
        false => String::from_utf8(text).map_err(not_text),
    }
}

/// Rank 0 predicts the run where it has a platform file; all agree on whether every rank's host
/// is in it, is said to be fast enough to tell, and has the memory.
///
/// # Errors
/// `End`: it is not, with one line that names rank and host; or the link failed.
pub fn predict(
    link: &mut dyn Link,
    place: &Place<'_>,
    program: &Arc<Program>,
    lead: Option<&mut Lead>,
    (seats, request): (&Seats, &Request),
) -> Result<(), End> {
    let own = match lead {
        Some(lead) if lead.platform.is_some() => {
            let platform = lead.platform.take().unwrap_or_default();
            let frames = lead.frames.count().min(request.frames.unwrap_or(u64::MAX));
            let asked = asked(program, frames, request.warmup);
            let hosts: Vec<_> = seats.iter().map(|(host, _)| Some(host.clone())).collect();
            let program = Arc::clone(program);
            let path = request.platform.as_deref().unwrap_or(Path::new(""));
            let file = path.display().to_string();
            let predicted = aside(link, move || {
                let cost = fitting(&program, &platform, &hosts, asked);
                let wrong = |line| Failure::new(WRONG_INPUT, format!("{file}: {line}"));
                Ok(Predicted {
                    cost: cost.map_err(wrong)?,
                    platform: file,
                })
            })?;
            predicted.map(|predicted| lead.predicted = Some(predicted))
        }
        _ => Ok(()),
    };
    verdict(link, place, own)
}

/// The run's own frames, as far as they are worth replaying.
fn asked(program: &Program, frames: u64, warmup: u64) -> Asked {
    let plan = &program.plan;
    let few = 4 * u64::from(plan.window) + 1;
    let most = (REPLAYED / plan.ranks.len().max(1) as u64).max(few);
    Asked {
        frames: frames.clamp(1, most),
        warmup: warmup.min(most),
        intervals: false,
    }
}

fn fitting(
    program: &Program,
    platform: &Platform,
    hosts: &[Option<String>],
    asked: Asked,
) -> Result<Cost, String> {
    let places = platform.places(hosts)?;
    let (graph, plan) = (&program.graph, &program.plan);
    let cost = cost(graph, plan, platform, &places, asked).map_err(|error| error.to_string())?;
    cost.fits().map_err(|error| error.to_string())?;
    Ok(cost)
}
