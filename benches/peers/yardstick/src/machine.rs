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
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let words = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
    let args = if words.is_empty() { String::new() } else { format!(" -- {words}") };
    vec![
        format!("{cores} cores of {model}, {}", told("uname", &["-srm"], root)),
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

fn told(program: &str, args: &[&str], at: &Path) -> String {
    let output = Command::new(program).args(args).current_dir(at).output();
    output.map_or_else(
        |_| "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
