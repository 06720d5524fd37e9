//! Where and when it was measured.

use crate::host::Patience;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The load of the machine in the last minute, as the system gives it.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// Facts, one a line. `before` is the load of the machine when the measurements began.
pub(crate) fn facts(
    root: &Path,
    before: &str,
    took: Duration,
    rounds: usize,
    patience: &Patience,
) -> Vec<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = field(&info, "model name").unwrap_or("unknown processor");
    // Clouds give their processors the same name for generations.
    let numbers = ["cpu family", "model"].map(|name| field(&info, name).unwrap_or("unknown"));
    let has = |flag| field(&info, "flags").is_some_and(|flags| flags.split(' ').any(|one| one == flag));
    let wide: Vec<&str> = ["vaes", "avx512f", "sha_ni"].into_iter().filter(|flag| has(*flag)).collect();
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let words = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let args = if words.is_empty() { String::new() } else { format!(" -- {words}") };
    vec![
        format!(
            "{cores} cores of {model} (family {}, model {}; {}), {}",
            numbers[0],
            numbers[1],
            wide.join(", "),
            told("uname", &["-srm"], root)
        ),
        told("rustc", &["--version"], root),
        format!(
            "commit {} of {}",
            told("git", &["rev-parse", "--short=12", "HEAD"], root),
            told("date", &["-u", "+%F"], root)
        ),
        format!(
            "load of the machine before it began: {before} (0 is a quiet one); {rounds} rounds, {:.0} s",
            took.as_secs_f64()
        ),
        patience.told(),
        format!("`cargo run --release --manifest-path benches/peers/Cargo.toml -p yardstick{args}`"),
    ]
}

/// The first value of this name in `/proc/cpuinfo`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines()
        .find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == name))
        .map(|(_, value)| value.trim())
}

fn told(program: &str, args: &[&str], at: &Path) -> String {
    let output = Command::new(program).args(args).current_dir(at).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
