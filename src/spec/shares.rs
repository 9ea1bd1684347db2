//! Shares of a document, whole or decimal, as whole numbers in the same proportion.
//!
//! Where one share has digits after the point, all are multiplied by the same power of ten:
//! `[0.25, 1.5]` is `[25, 150]`. Whole numbers stay as they are, so that they read back.

use crate::document::Tree;
use crate::document::{At, Fault};

/// Highest share; the sum of those of all ranks then stays far below 64 bits.
pub(super) const MAX_SHARE: u64 = 1 << 32;
/// Most digits after the point.
const MAX_PLACES: usize = 6;
/// Highest share of frames, which is as many as a cycle may have.
const MAX_FRAMES: u64 = 64;

const SHARES: &str = "a list of shares, e.g. [1, 2]";

/// A list of shares: at least one, and not all 0.
pub(super) fn read_shares(at: &At) -> Result<Vec<u64>, Fault> {
    let items = at.list(SHARES)?;
    let decimals: Vec<_> = items.iter().map(decimal).collect::<Result<_, _>>()?;
    let places = decimals.iter().map(|(_, places)| *places).max();
    let places = places.unwrap_or(0);
    let scaled = |(item, (digits, own)): (&At, &(u64, usize))| {
        let share = digits.checked_mul(power(places - own));
        let share = share.filter(|share| *share <= MAX_SHARE);
        share.ok_or_else(|| too_high(item, places))
    };
    let shares: Vec<u64> = items
        .iter()
        .zip(&decimals)
        .map(scaled)
        .collect::<Result<_, _>>()?;
    not_all_zero(at, shares)
}

/// As `read_shares`, in whole frames.
pub(super) fn read_frame_shares(at: &At) -> Result<Vec<u64>, Fault> {
    let items = at.list(SHARES)?;
    let share = |item: &At| item.count(0, MAX_FRAMES);
    not_all_zero(at, items.iter().map(share).collect::<Result<_, _>>()?)
}

fn not_all_zero(at: &At, shares: Vec<u64>) -> Result<Vec<u64>, Fault> {
    if shares.is_empty() {
        return Err(at.fault(format!("no share, expected {SHARES}")));
    }
    if shares.iter().all(|share| *share == 0) {
        return Err(at.fault("every share is 0, expected at least one above 0"));
    }
    Ok(shares)
}

/// The digits of a number without its point, and how many of them stand behind it.
///
/// A float prints with the fewest digits that read back as itself; up to 15 digits these are the
/// ones that the document has, without zeros at the end. Below `MAX_SHARE` there are at most ten.
fn decimal(item: &At) -> Result<(u64, usize), Fault> {
    let text = match item.tree {
        Tree::Int(value) => value.to_string(),
        Tree::Float(value) => value.to_string(),
        _ => String::new(),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    // A sign or `inf` is no digit.
    let digits = format!("{whole}{fraction}").parse().ok();
    let digits = digits.filter(|_| fraction.len() <= MAX_PLACES);
    digits
        .map(|digits| (digits, fraction.len()))
        .ok_or_else(|| {
            item.found(&format!(
                "a share from 0 to {MAX_SHARE}, with at most {MAX_PLACES} digits after the point"
            ))
        })
}

fn too_high(item: &At, places: usize) -> Fault {
    if places == 0 {
        return item.found(&format!("a share from 0 to {MAX_SHARE}"));
    }
    let (whole, rest) = (MAX_SHARE / power(places), MAX_SHARE % power(places));
    let s = if places == 1 { "" } else { "s" };
    item.found(&format!(
        "at most {whole}.{rest:0places$} where a share has {places} digit{s} after the point"
    ))
}

/// Ten to the power of at most `MAX_PLACES`.
fn power(places: usize) -> u64 {
    (0..places).map(|_| 10).product()
}
