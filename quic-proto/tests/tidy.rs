//! Taste, made executable: dependency direction, words that a folder may not know, sizes, stated invariants.
//!
//! This file holds what is particular to this repository: the orders, the limits, the exceptions. `tidy/rules.rs` holds the rules,
//! `tidy/source.rs` the scanner under them. `cargo test -p quic-proto --test tidy` runs in a moment and needs nothing but the files.

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/rules_tests.rs"]
mod rules_tests;
#[path = "tidy/source.rs"]
mod source;

use rules::{Banned, Finding, Order};
use source::Source;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a file, tests apart.
const FILE_LINES: usize = 600;
/// Lines of a function.
const FUNCTION_LINES: usize = 70;

/// The modules of quic-proto: each may use itself and what stands before it.
const MODULES: Order = Order(&[
    // What everything is made of.
    "time",
    "rng",
    "error",
    "id",
    "net",
    "recovery::token",
    "event",
    "timer",
    // Bytes.
    "codec",
    "invariants",
    "crypto",
    // The parts of the engine.
    "util",
    "flow",
    "congestion",
    "recovery",
    "streams",
    "path",
    "cid",
    "config",
    // The whole.
    "engine",
    "ietf",
    "gquic",
    "connection",
    "endpoint",
]);

/// The crates of the workspace in tiers: each may depend on those of the tiers before its own. Dev-dependencies are free.
const CRATES: &[&[&str]] = &[
    &["quic-proto", "quic-perf"],
    &["quic-sim", "quic-udp"],
    &["quic-mio", "quic-tokio"],
    &["quic-cli"],
    &["benches", "fuzz", "quic-suite"],
];

/// Crates that measure and test, and ship to nobody: a panic is how they report.
const PANIC_FREELY: &[&str] = &["benches", "fuzz", "quic-suite"];

/// The folders of the version-blind engine do not know which family they serve, nor that there are versions.
const VERSION_BLIND: &[&str] = &["streams", "recovery", "congestion", "flow", "path", "engine"];
const FAMILY_WORDS: &[Banned] = &[Banned::Part("ietf"), Banned::Part("gquic"), Banned::Camel("Version")];

/// The families stand side by side: neither knows the other.
const FAMILIES: &[(&str, &[Banned])] =
    &[("ietf", &[Banned::Part("gquic")]), ("gquic", &[Banned::Part("ietf")])];

/// TLS and cryptography by others are named in quic-proto/src/crypto and in the crypto/ of a family only.
const CRYPTO_CRATES: &[&str] = &["rustls", "ring", "aws_lc_rs", "subtle", "webpki", "x25519_dalek"];

/// Something that stays as it is for a reason. The list may only shrink: an exception that is no longer needed, or that is larger
/// than it has to be, fails the test as a breach does.
struct Exception {
    /// The rule: `file-size`, `function-size`, `panic`, `direction`, … as a finding names it.
    rule: &'static str,
    /// The file relative to the workspace; of a function `file: name`.
    place: &'static str,
    /// The size that is tolerated; for rules without a size, the number of findings.
    size: usize,
    /// Why it is better so.
    reason: &'static str,
}

const EXCEPTIONS: &[Exception] = &[];

#[test]
fn the_code_is_tidy() {
    let root = workspace();
    let mut findings = Vec::new();
    for krate in rules::members(&read(&root.join("Cargo.toml"))) {
        let src = root.join(&krate).join("src");
        for (path, source) in shipped_files(&src) {
            let file = format!("{krate}/src/{path}");
            findings.extend(everywhere(&krate, &file, &source));
            if krate == "quic-proto" {
                findings.extend(in_the_protocol(&file, &path, &source));
            }
        }
    }
    let complaints = judge(&findings, EXCEPTIONS);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn crates_depend_on_lower_tiers_only() {
    let root = workspace();
    let known: Vec<&str> = CRATES.iter().flat_map(|tier| tier.iter().copied()).collect();
    let tier = |krate: &str| CRATES.iter().position(|tier| tier.contains(&krate));
    for krate in rules::members(&read(&root.join("Cargo.toml"))) {
        let own = tier(&krate)
            .unwrap_or_else(|| panic!("{krate} has no place in CRATES of tests/tidy.rs; give it one"));
        for used in rules::dependencies(&read(&root.join(&krate).join("Cargo.toml")), &known) {
            assert!(tier(used) < Some(own), "{krate} may not depend on {used}: it is not of a lower tier");
        }
    }
}

#[test]
fn the_protocol_forbids_unsafe_code() {
    let lib = Source::new(&read(&workspace().join("quic-proto/src/lib.rs")));
    assert!(lib.shipped.contains("#![forbid(unsafe_code)]"));
}

fn everywhere(krate: &str, file: &str, source: &Source) -> Vec<Finding> {
    let mut findings = rules::file_size(file, source, FILE_LINES);
    findings.extend(rules::function_size(file, source, FUNCTION_LINES));
    findings.extend(rules::module_doc(file, source));
    findings.extend(rules::stubs(file, source));
    if !PANIC_FREELY.contains(&krate) {
        findings.extend(rules::panics(file, source));
    }
    findings
}

fn in_the_protocol(file: &str, path: &str, source: &Source) -> Vec<Finding> {
    let module = module_path(path);
    let folder = module.first().map_or("", String::as_str);
    let mut findings = MODULES.check(file, &module, source);
    findings.extend(rules::panic_macros(file, source));
    findings.extend(rules::clocks(file, source));
    if !module.iter().any(|name| name == "crypto") {
        findings.extend(rules::confined(file, source, CRYPTO_CRATES, "crypto"));
    }
    if VERSION_BLIND.contains(&folder) {
        findings.extend(rules::banned_words(file, source, FAMILY_WORDS));
    }
    for (_, words) in FAMILIES.iter().filter(|(family, _)| *family == folder) {
        findings.extend(rules::banned_words(file, source, words));
    }
    findings
}

/// `streams/send.rs` → streams, send; `streams/mod.rs` → streams; `lib.rs` → nothing.
fn module_path(path: &str) -> Vec<String> {
    let names = path.trim_end_matches(".rs").split('/');
    names.filter(|name| !matches!(*name, "mod" | "lib" | "main")).map(str::to_string).collect()
}

/// What remains to complain about: findings beyond the exceptions, and exceptions that are wider than the findings.
fn judge(findings: &[Finding], exceptions: &[Exception]) -> Vec<String> {
    let mut complaints = Vec::new();
    let matches = |e: &Exception, f: &Finding| e.rule == f.rule && e.place == f.place;
    for finding in findings.iter().filter(|f| !exceptions.iter().any(|e| matches(e, f))) {
        let file = finding.place.split(": ").next().unwrap_or_default();
        complaints.push(format!("{file}:{}: [{}] {}", finding.line, finding.rule, finding.what));
    }
    for exception in exceptions {
        let Exception { rule, place, size, reason } = exception;
        let found: usize = findings.iter().filter(|f| matches(exception, f)).map(|f| f.size).sum();
        match found {
            0 => complaints.push(format!("[{rule}] {place}: the exception is no longer needed; take it out")),
            found if found < *size => {
                complaints
                    .push(format!("[{rule}] {place}: the exception allows {size}; lower it to {found}"));
            }
            found if found > *size => {
                complaints.push(format!(
                    "[{rule}] {place}: {found}, more than the {size} allowed because: {reason}"
                ));
            }
            _ => {}
        }
        if reason.split_whitespace().count() < 4 {
            complaints.push(format!("[{rule}] {place}: the exception needs a reason"));
        }
    }
    complaints
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the workspace").to_path_buf()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files below `src` that are not tests, in a fixed order, with their paths relative to it.
fn shipped_files(src: &Path) -> Vec<(String, Source)> {
    let mut files = Vec::new();
    collect(src, "", &mut files);
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut tests: Vec<String> = Vec::new();
    for (path, source) in &files {
        let inside = match path.rsplit_once('/') {
            _ if matches!(path.as_str(), "lib.rs" | "main.rs") => String::new(),
            Some((folder, "mod.rs")) => format!("{folder}/"),
            _ => format!("{}/", path.trim_end_matches(".rs")),
        };
        tests.extend(source.test_modules.iter().map(|name| format!("{inside}{name}")));
    }
    files.retain(|(path, _)| {
        let is_test =
            |test: &String| path.strip_prefix(test.as_str()).is_some_and(|rest| rest.starts_with(['.', '/']));
        !path.ends_with("tests.rs")
            && !path.split('/').any(|part| part == "tests")
            && !tests.iter().any(is_test)
    });
    files
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<(String, Source)>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let entry = entry.expect("a readable folder");
        let name = entry.file_name().into_string().expect("file names are UTF-8");
        let path = format!("{prefix}{name}");
        if entry.path().is_dir() {
            collect(&entry.path(), &format!("{path}/"), files);
        } else if name.ends_with(".rs") {
            files.push((path, Source::new(&read(&entry.path()))));
        }
    }
}

fn finding(rule: &'static str, place: &str, size: usize) -> Finding {
    Finding { rule, place: place.to_string(), line: 7, size, what: "too much".to_string() }
}

#[test]
fn exceptions_hold_and_may_only_shrink() {
    let reason = "one table, read at a glance";
    let findings = [finding("function-size", "a/src/b.rs: f", 90), finding("panic", "a/src/b.rs", 1)];
    assert_eq!(
        judge(&findings, &[]),
        ["a/src/b.rs:7: [function-size] too much", "a/src/b.rs:7: [panic] too much"]
    );

    let exception = |size| Exception { rule: "function-size", place: "a/src/b.rs: f", size, reason };
    assert_eq!(judge(&findings[..1], &[exception(90)]), [""; 0]);
    for (findings, size, complaint) in [
        (&findings[..1], 80, "90, more than the 80 allowed because: one table, read at a glance"),
        (&findings[..1], 95, "the exception allows 95; lower it to 90"),
        (&findings[..0], 90, "the exception is no longer needed; take it out"),
    ] {
        let complaints = judge(findings, &[exception(size)]);
        assert_eq!(complaints, [format!("[function-size] a/src/b.rs: f: {complaint}")]);
    }
    let idle = Exception { reason: "", ..exception(90) };
    assert_eq!(judge(&findings[..1], &[idle]).len(), 1, "a reason is asked for");
}

#[test]
fn paths_name_modules() {
    for (path, module) in
        [("lib.rs", ""), ("time.rs", "time"), ("streams/mod.rs", "streams"), ("a/b/c.rs", "a::b::c")]
    {
        assert_eq!(module_path(path).join("::"), module);
    }
}

/// What has to be touched to take a family out: its module's declaration, and the one place that knows all families.
const TOUCHED_WITHOUT_GQUIC: usize = 3;

#[test]
fn the_second_family_can_be_taken_out() {
    let src = workspace().join("quic-proto/src");
    let mut files = Vec::new();
    collect(&src, "", &mut files);
    let mut naming: Vec<&str> =
        files.iter().map(|(path, _)| &**path).filter(|path| !path.starts_with("gquic/")).collect();
    naming.retain(|path| read(&src.join(path)).contains("gquic"));
    assert!(!naming.is_empty() && naming.len() <= TOUCHED_WITHOUT_GQUIC, "{naming:?}");
}
