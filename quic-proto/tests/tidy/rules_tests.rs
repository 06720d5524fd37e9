//! The rules, held against samples: what they must find, and what they must leave alone.

use crate::rules::*;
use crate::source::Source;

fn lines(findings: &[Finding]) -> Vec<usize> {
    findings.iter().map(|finding| finding.line).collect()
}

#[test]
fn sizes_are_limits_not_targets() {
    let source =
        Source::new("//! x\nfn a() {\n}\nfn b() {\n\n}\n#[cfg(test)]\nmod tests {\n fn c() {\n\n\n\n }\n}\n");
    assert_eq!(source.lines, 6);
    assert!(file_size("f", &source, 6).is_empty());
    assert_eq!(file_size("f", &source, 5)[0].size, 6);
    assert!(function_size("f", &source, 3).is_empty());
    let long = function_size("f", &source, 2);
    assert_eq!((long.len(), long[0].place.as_str(), long[0].line, long[0].size), (1, "f: b", 4, 3));
}

#[test]
fn unwrap_and_bare_expect_are_found() {
    let bad = "a.unwrap();\nb\n  .unwrap ();\nc.expect(\"no\");\nd.expect(\n  message);\ne.map(Option::unwrap);\nf.expect_err(\"x\");\n";
    assert_eq!(lines(&panics("f", &Source::new(bad))), [1, 3, 7, 4, 5, 8]);
    let good = "a.unwrap_or(1); b.unwrap_or_default(); // c.unwrap()\nd(\".unwrap()\"); fn unwrap() {}\n\
                e.expect(\"invariant: stated\"); g.expect(\n    \"invariant: stated\",\n);\n#[expect(dead_code)]\n\
                #[cfg(test)]\nmod tests { fn t() { a.unwrap(); b.expect(\"\") } }\n";
    assert_eq!(panics("f", &Source::new(good)), []);
}

#[test]
fn panics_and_stubs_are_found() {
    let source = Source::new(
        "panic!(\"x\");\nunreachable!();\nunreachable!(\"invariant: y\");\nstd::panic::catch_unwind(f);\n",
    );
    assert_eq!(lines(&panic_macros("f", &source)), [1, 2]);
    // A stub is one in a test as well.
    let source = Source::new(
        "// todo!()\ntodo!()\n#[cfg(test)]\nmod tests { fn a() { unimplemented!(\"x\") } }\nlet todo = 1;\n",
    );
    assert_eq!(lines(&stubs("f", &source)), [2, 4]);
}

#[test]
fn modules_open_with_a_doc() {
    assert!(module_doc("f", &Source::new("\n//! Owns x.\n")).is_empty());
    assert_eq!(module_doc("f", &Source::new("// Owns x.\nuse a;\n")).len(), 1);
    assert_eq!(module_doc("f", &Source::new("")).len(), 1);
}

#[test]
fn clocks_are_found_and_durations_are_not() {
    let bad = "use std::time::Instant;\nuse std::time::{Duration, SystemTime};\nuse std::{fmt, time};\n\
               let x = core::time::*;\nuse std::time;\nstd::time::Instant::now();\n";
    assert_eq!(lines(&clocks("f", &Source::new(bad))), [1, 2, 3, 5, 6, 4]);
    let good = "use std::time::Duration;\nuse std::{fmt, time::Duration};\npub use std::time::{Duration};\nuse crate::time::Instant;\n\
                // std::time::Instant\n#[cfg(test)]\nuse std::time::Instant;\n";
    assert_eq!(clocks("f", &Source::new(good)), []);
}

#[test]
fn confined_crates_are_found() {
    let source = Source::new(
        "use ring::aead;\nfn f(a: &rustls::Error) {}\nuse crate::crypto::{a, rustls::B};\nlet ring = crypto::ring::new();\n",
    );
    assert_eq!(lines(&confined("f", &source, &["ring", "rustls"], "crypto")), [1, 2]);
}

#[test]
fn banned_words_are_parts_of_identifiers() {
    let banned = [Banned::Part("gquic"), Banned::Camel("Version")];
    let bad = "use crate::gquic;\nlet is_gquic = 1;\nstruct GquicFrame;\nfn f(v: VersionSpec) {}\nlet x = GQUIC_LIMIT;\nuse QuicVersion;\n";
    assert_eq!(lines(&banned_words("f", &Source::new(bad), &banned)), [1, 2, 3, 4, 5, 6]);
    let good =
        "// gquic is not Version\nlet version = \"gquic\";\nfn conversion(a: Conversion, b: gquick) {}\n";
    assert_eq!(banned_words("f", &Source::new(good), &banned), []);
}

fn direction(module: &str, text: &str) -> Vec<usize> {
    let order = Order(&["time", "loss::token", "flow", "loss", "engine"]);
    let module: Vec<_> = module.split("::").filter(|name| !name.is_empty()).map(str::to_string).collect();
    lines(&order.check("f", &module, &Source::new(text)))
}

#[test]
fn modules_use_what_stands_before_them() {
    let uses = "use crate::time::A;\nuse crate::flow::B;\nlet x = crate::loss::f();\nuse crate::{time, engine::C};\nuse crate::loss::token::T;\n";
    assert_eq!(direction("engine", uses), []);
    assert_eq!(direction("loss::mod", uses), [4]);
    assert_eq!(direction("flow", uses), [3, 4]);
    // A part with a place of its own is bound by that place, not by its parent's.
    assert_eq!(direction("loss::token", uses), [2, 3, 4]);
    assert_eq!(direction("", uses), []);
}

#[test]
fn groups_and_climbing_are_followed() {
    assert_eq!(direction("flow", "use crate::{\n  time::{A, B},\n  loss::{token::T, sent},\n};\n"), [1]);
    assert_eq!(direction("flow", "use crate::loss::{token::T, token};\n"), []);
    assert_eq!(direction("flow", "use super::engine;\n"), [1]);
    assert_eq!(
        direction(
            "flow::credit",
            "use super::engine;\nuse super::super::engine::X;\nuse super::super::{time, loss};\n"
        ),
        [2, 3]
    );
    assert_eq!(direction("flow::a::b", "use super::super::engine;\n"), []);
}

#[test]
fn visibilities_macros_tests_and_comments_are_not_uses() {
    assert_eq!(
        direction(
            "flow",
            "pub(crate) fn f() {}\npub(in crate::flow) fn g() {}\ncrate::trace!(1);\n// crate::engine\n"
        ),
        []
    );
    assert_eq!(
        direction(
            "flow",
            "#[cfg(test)]\nmod tests { use crate::engine::X; }\nmacro_rules! m { () => { $crate::engine::f() } }\n"
        ),
        [3]
    );
}

#[test]
fn modules_without_a_place_and_reexports_are_found() {
    assert_eq!(direction("novel", "use crate::time;\n"), [1]);
    assert_eq!(direction("flow", "use crate::Engine;\nuse crate::*;\n"), [1, 2]);
}

#[test]
fn manifests_are_read() {
    let workspace = ["quic-proto", "quic-sim", "quic-cli"];
    let manifest = "[package]\nname = \"quic-cli\"\n[dependencies]\nbytes = \"1\"\nquic-proto = { workspace = true }\n\
                    [dev-dependencies]\nquic-sim.workspace = true\n[target.'cfg(unix)'.dependencies]\nquic-cli.workspace = true\n";
    assert_eq!(dependencies(manifest, &workspace), ["quic-proto", "quic-cli"]);
    assert_eq!(dependencies("[dependencies.quic-sim]\npath = \"x\"\n", &workspace), ["quic-sim"]);
    assert_eq!(
        members("[workspace]\nresolver = \"3\"\nmembers = [\n  \"quic-proto\",\n  \"benches\",\n]\n"),
        ["quic-proto", "benches"]
    );
}
