//! Sizes, rates, shares and times as people write them.
//!
//! Owns the parsers, which command lines use, and their inverses. Timers: none.

use std::time::Duration;

/// Splits `text` into its number and its unit.
fn split(text: &str) -> Result<(f64, String), String> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number = number.parse::<f64>().map_err(|_| format!("{text:?} does not start with a number"))?;
    Ok((number, unit.trim().to_ascii_lowercase()))
}

/// A number of bytes: `1MiB`, `20MB`, `4096`.
///
/// # Errors
/// If it is written otherwise, with what is wrong.
pub fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor: f64 = match unit.as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0 * 1024.0,
        "gib" => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("{unit:?} is no unit of size: use B, kB, MB, GB, KiB, MiB or GiB")),
    };
    whole(number * factor, text)
}

/// A number that a `u64` holds; 2^64 is the first that it does not.
fn whole(number: f64, text: &str) -> Result<u64, String> {
    if number < 2f64.powi(64) { Ok(number as u64) } else { Err(format!("{text:?} is too much")) }
}

/// Bits per second: `100mbit`, `1gbit`, `500kbit`.
///
/// # Errors
/// If it is written otherwise, with what is wrong.
pub fn rate(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text)?;
    let factor = match unit.as_str() {
        "bit" => 1.0,
        "kbit" => 1e3,
        "mbit" => 1e6,
        "gbit" => 1e9,
        _ => return Err(format!("{unit:?} is no unit of rate: use bit, kbit, mbit or gbit")),
    };
    match whole(number * factor, text)? {
        0 => Err("a rate must be above zero".to_owned()),
        rate => Ok(rate),
    }
}

/// A share: `1%`, `0.5%`.
///
/// # Errors
/// If it is written otherwise, with what is wrong.
pub fn share(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').ok_or_else(|| format!("{text:?} must end with %"))?;
    let number: f64 = number.parse().map_err(|_| format!("{text:?} does not start with a number"))?;
    if (0.0..100.0).contains(&number) {
        Ok(number / 100.0)
    } else {
        Err("a share lies between 0% and 100%".to_owned())
    }
}

/// A time: `40ms`, `1.5s`.
///
/// # Errors
/// If it is written otherwise, with what is wrong.
pub fn time(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text)?;
    let seconds = match unit.as_str() {
        "us" => number / 1e6,
        "ms" => number / 1e3,
        "s" => number,
        "m" | "min" => number * 60.0,
        _ => return Err(format!("{unit:?} is no unit of time: use us, ms, s or min")),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{text:?} is too long"))
}

/// Bytes for a person to read.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let power = count.ilog2() as usize / 10;
    format!("{:.2} {}", count as f64 / 1024_f64.powi(power as i32), UNITS[power - 1])
}

/// Bytes in a time as a rate for a person to read.
pub fn throughput(count: u64, time: Duration) -> String {
    let bits = count as f64 * 8.0 / time.as_secs_f64().max(1e-9);
    match bits {
        bits if bits >= 1e9 => format!("{:.2} Gbit/s", bits / 1e9),
        bits if bits >= 1e6 => format!("{:.1} Mbit/s", bits / 1e6),
        bits => format!("{:.0} kbit/s", bits / 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_write_them_so() {
        assert_eq!(size("256MiB"), Ok(256 << 20));
        assert_eq!(size("1.5kB"), Ok(1500));
        assert_eq!(size("7"), Ok(7));
        assert!(size("99999999999GiB").is_err() && size("").is_err() && size("-1").is_err());
        assert!(size("1.2.3").is_err() && rate("99999999999gbit").is_err());
        assert!(size("7 apples").unwrap_err().contains("apples"));
        assert_eq!(rate("100mbit"), Ok(100_000_000));
        assert!(rate("0mbit").is_err() && rate("10").is_err());
        assert_eq!(share("1%"), Ok(0.01));
        assert!(share("1").is_err() && share("100%").is_err());
        assert_eq!(time("40ms"), Ok(Duration::from_millis(40)));
        assert!(time("4").is_err());
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.00 KiB");
        assert_eq!(bytes(4 << 20), "4.00 MiB");
        assert_eq!(bytes(u64::MAX), "16.00 EiB");
    }

    #[test]
    fn rates_read_well() {
        assert_eq!(throughput(125_000_000, Duration::from_secs(1)), "1.00 Gbit/s");
        assert_eq!(throughput(125_000, Duration::from_secs(1)), "1.0 Mbit/s");
    }
}
