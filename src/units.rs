//! Sizes and times as people read them.

use std::time::Duration;

use thiserror::Error;

/// A quantity that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnitError {
    /// Not a time.
    #[error("{0:?} is not a time; write e.g. 500ms, 30s or 2m")]
    Duration(String),
    /// Not a height and width.
    #[error("{0:?} is not a size; write height x width, e.g. 224x224")]
    Size(String),
}

/// Bytes with binary prefixes and three or more digits.
///
/// ```
/// use autodice::units::bytes;
///
/// assert_eq!(bytes(1023), "1023 B");
/// assert_eq!(bytes(1536), "1.50 KiB");
/// assert_eq!(bytes(64 << 20), "64.0 MiB");
/// assert_eq!(bytes((1 << 20) - 1), "1.00 MiB");
/// ```
pub fn bytes(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    scaled(bytes as f64, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

/// A count with SI prefixes and three or more digits: `count(n, "MAC")`.
///
/// ```
/// use autodice::units::count;
///
/// assert_eq!(count(416_520, "MAC"), "417 kMAC");
/// assert_eq!(count(15_346_630_656, "MAC"), "15.3 GMAC");
/// assert_eq!(count(999, "MAC"), "999 MAC");
/// ```
pub fn count(count: u64, of: &str) -> String {
    if count < 1000 {
        return format!("{count} {of}");
    }
    scaled(count as f64, 1000.0, &["", "k", "M", "G", "T", "P"]) + of
}

/// Three digits of `x` in the largest unit of which it is at least one, as printed.
fn scaled(mut x: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    // What would be printed as a whole step belongs to the next unit.
    while unit + 1 < units.len() && x + 0.5 >= step {
        x /= step;
        unit += 1;
    }
    let digits = match x {
        x if x < 9.995 => 2,
        x if x < 99.95 => 1,
        _ => 0,
    };
    format!("{x:.digits$} {}", units[unit])
}

/// A time in milliseconds with three decimals, without the unit: a table's column names it.
///
/// ```
/// use std::time::Duration;
/// use autodice::units::ms;
///
/// assert_eq!(ms(Duration::from_micros(12_345)), "12.345");
/// assert_eq!(ms(Duration::ZERO), "0.000");
/// ```
pub fn ms(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1e3)
}

/// A time such as `500us`, `500ms`, `30s`, `1.5s`, `2m` or `1h`; the unit is needed.
///
/// # Errors
/// [`UnitError::Duration`] where `text` is none, or longer than a `Duration` holds.
///
/// ```
/// use std::time::Duration;
/// use autodice::units::parse_duration;
///
/// assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
/// assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
/// assert_eq!(
///     parse_duration("30").unwrap_err().to_string(),
///     "\"30\" is not a time; write e.g. 500ms, 30s or 2m"
/// );
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let error = || UnitError::Duration(text.into());
    let trimmed = text.trim();
    let end = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(error)?;
    let (number, unit) = trimmed.split_at(end);
    let nanos: u64 = match unit.trim_start() {
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return Err(error()),
    };
    // In integers, so that 0.1s is exactly 100 ms.
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.parse().map_err(|_| error())?;
    let digits = u32::try_from(fraction.len()).map_err(|_| error())?;
    let fraction: u64 = fraction.parse().map_err(|_| error())?;
    let scale = 10_u64.checked_pow(digits).ok_or_else(error)?;
    let part = u128::from(fraction) * u128::from(nanos) / u128::from(scale);
    let total = u128::from(whole) * u128::from(nanos) + part;
    u64::try_from(total)
        .map(Duration::from_nanos)
        .map_err(|_| error())
}

/// Height and width such as `224x224`, both at least 1.
///
/// # Errors
/// [`UnitError::Size`] where `text` is none.
///
/// ```
/// use autodice::units::parse_hw;
///
/// assert_eq!(parse_hw("480x640"), Ok((480, 640)));
/// assert!(parse_hw("224").is_err() && parse_hw("0x3").is_err());
/// ```
pub fn parse_hw(text: &str) -> Result<(usize, usize), UnitError> {
    let length = |part: &str| {
        part.trim()
            .parse()
            .ok()
            .filter(|&length: &usize| length > 0)
    };
    text.split_once('x')
        .and_then(|(height, width)| Some((length(height)?, length(width)?)))
        .ok_or_else(|| UnitError::Size(text.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_change_unit_where_they_would_print_four_digits() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1024), "1.00 KiB");
        assert_eq!(bytes(1024 * 1000), "1000 KiB");
        assert_eq!(bytes(u64::MAX), "16777216 TiB");
        assert_eq!(count(999_499, "B"), "999 kB");
        assert_eq!(count(999_500, "B"), "1.00 MB");
        assert_eq!(count(9_994, ""), "9.99 k");
        assert_eq!(count(9_996, ""), "10.0 k");
    }

    #[test]
    fn times_are_read_exactly() {
        let read = |text: &str| parse_duration(text).map(|time| time.as_nanos());
        assert_eq!(read("0.1s"), Ok(100_000_000));
        assert_eq!(read("1.5 m"), Ok(90_000_000_000));
        assert_eq!(read(" 200us "), Ok(200_000));
        assert_eq!(read("0s"), Ok(0));
        assert_eq!(read("1h"), Ok(3_600_000_000_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let long = "9".repeat(30) + "s";
        let fine = format!("0.{}s", "1".repeat(30));
        for text in [
            "", "s", "5", "-1s", "1.2.3s", ".s", "1s2", "1e3s", "5 days", &long, &fine,
        ] {
            assert_eq!(parse_duration(text), Err(UnitError::Duration(text.into())));
        }
        assert!(parse_duration("18446744073s").is_ok());
        assert!(parse_duration("18446744074s").is_err());
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "x",
            "1x",
            "x1",
            "1x2x3",
            "-1x2",
            "1.5x2",
            "99999999999999999999x1",
        ] {
            assert_eq!(parse_hw(text), Err(UnitError::Size(text.into())));
        }
    }
}
