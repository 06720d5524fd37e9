//! The rules, each a function from a scanned file to what is wrong in it. They know nothing of this repository: what they need to
//! know (orders, folders, limits) is handed in, so that their own tests can use samples of a few words.

use crate::source::{
    Source, before, closing, find_word, identifiers, is_word, line_of, skip_space, word_at, words,
};

/// Something that a rule found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The rule, as exceptions name it.
    pub(crate) rule: &'static str,
    /// The file, relative to the workspace; of a function also its name: `quic-proto/src/a.rs: f`.
    pub(crate) place: String,
    /// The line in the file, counted from 1.
    pub(crate) line: usize,
    /// The size for rules with a limit; otherwise 1.
    pub(crate) size: usize,
    /// What is wrong and what to do.
    pub(crate) what: String,
}

impl Finding {
    fn new(rule: &'static str, place: &str, line: usize, what: impl Into<String>) -> Self {
        Self { rule, place: place.to_string(), line, size: 1, what: what.into() }
    }
}

/// Files of more than `limit` lines, tests apart.
pub(crate) fn file_size(file: &str, source: &Source, limit: usize) -> Vec<Finding> {
    if source.lines <= limit {
        return Vec::new();
    }
    let what =
        format!("{} lines without tests; at most {limit}: find the second thing that it owns", source.lines);
    vec![Finding { size: source.lines, ..Finding::new("file-size", file, 1, what) }]
}

/// Functions of more than `limit` lines, tests apart.
pub(crate) fn function_size(file: &str, source: &Source, limit: usize) -> Vec<Finding> {
    let too_long = source.functions().into_iter().filter(|&(_, _, lines)| lines > limit);
    too_long
        .map(|(name, line, lines)| {
            let what = format!(
                "fn {name} has {lines} lines; at most {limit}: extract the state that it juggles into a type"
            );
            let place = format!("{file}: {name}");
            Finding { size: lines, ..Finding::new("function-size", &place, line, what) }
        })
        .collect()
}

/// Files that do not open with a `//!` doc.
pub(crate) fn module_doc(file: &str, source: &Source) -> Vec<Finding> {
    if source.text.trim_start().starts_with("//!") {
        return Vec::new();
    }
    vec![Finding::new(
        "module-doc",
        file,
        1,
        "open with a `//!` doc: what it owns, its invariants, its timers",
    )]
}

/// `unwrap()`, and `expect(` whose message does not state the invariant.
pub(crate) fn panics(file: &str, source: &Source) -> Vec<Finding> {
    let code = &source.shipped;
    let mut findings = Vec::new();
    let mut found = |at, what: &str| findings.push(Finding::new("panic", file, line_of(code, at), what));
    for name in ["unwrap", "unwrap_err", "unwrap_unchecked"] {
        for at in words(code, name).filter(|&at| is_call(code, at, name)) {
            found(at, "unwrap: handle it, or `expect(\"invariant: …\")` with the reason why it cannot be");
        }
    }
    for name in ["expect", "expect_err"] {
        for at in words(code, name).filter(|&at| is_call(code, at, name)) {
            if !states_invariant(source, at + name.len()) {
                found(at, "expect: its message must state why it cannot fail, as \"invariant: …\"");
            }
        }
    }
    findings
}

/// `panic!` and `unreachable!` whose message does not state the invariant.
pub(crate) fn panic_macros(file: &str, source: &Source) -> Vec<Finding> {
    let code = &source.shipped;
    let mut findings = Vec::new();
    for name in ["panic", "unreachable"] {
        for at in words(code, name).filter(|&at| code[at + name.len()..].starts_with('!')) {
            if !states_invariant(source, at + name.len() + 1) {
                let what = format!(
                    "{name}!: no peer and no caller may cause it; its message must say why, as \"invariant: …\""
                );
                findings.push(Finding::new("panic", file, line_of(code, at), what));
            }
        }
    }
    findings
}

/// `todo!` and `unimplemented!`.
pub(crate) fn stubs(file: &str, source: &Source) -> Vec<Finding> {
    let code = &source.code;
    let stubs =
        ["todo", "unimplemented"].into_iter().flat_map(|name| words(code, name).map(move |at| (name, at)));
    stubs
        .filter(|&(name, at)| code[at + name.len()..].starts_with('!'))
        .map(|(name, at)| {
            Finding::new("stub", file, line_of(code, at), format!("{name}!: finish it or leave it out"))
        })
        .collect()
}

/// Whether the word at `at` is called: as a method, or named in a path.
fn is_call(code: &str, at: usize, word: &str) -> bool {
    matches!(before(code, at), Some(b'.' | b':'))
        && !code[..at].trim_end().ends_with("fn")
        && (code[skip_space(code, at + word.len())..].starts_with('(') || before(code, at) == Some(b':'))
}

/// Whether the argument list at `at` begins with a literal that begins with `invariant:`.
fn states_invariant(source: &Source, at: usize) -> bool {
    let open = skip_space(&source.text, at);
    source.text[open..]
        .strip_prefix(['(', '{', '['])
        .is_some_and(|arguments| arguments.trim_start().starts_with("\"invariant: "))
}

/// Anything of `std::time` but `Duration`: time is an argument.
pub(crate) fn clocks(file: &str, source: &Source) -> Vec<Finding> {
    let code = &source.shipped;
    let mut findings = Vec::new();
    for root in ["std", "core"] {
        for at in words(code, root) {
            for path in use_tree(code, at, 3).iter().filter(|path| path.get(1).is_some_and(|p| p == "time")) {
                if path.get(2).is_none_or(|item| item != "Duration") {
                    let what =
                        format!("{}: only Duration; time is an argument (crate::time)", path.join("::"));
                    findings.push(Finding::new("clock", file, line_of(code, at), what));
                }
            }
        }
    }
    findings
}

/// Crates that only one folder may name.
pub(crate) fn confined(file: &str, source: &Source, crates: &[&str], folder: &str) -> Vec<Finding> {
    let code = &source.shipped;
    let mut findings = Vec::new();
    for name in crates {
        for at in words(code, name).filter(|&at| code[skip_space(code, at + name.len())..].starts_with("::"))
        {
            // `crypto::rustls::…` and `crypto::{rustls::…}` are modules of ours.
            if !matches!(before(code, at), Some(b':' | b'{' | b',')) || code[..at].ends_with(" ::") {
                let what = format!("{name} is named in {folder}/ only; use its types");
                findings.push(Finding::new("confined", file, line_of(code, at), what));
            }
        }
    }
    findings
}

/// A word that a folder may not contain.
#[derive(Clone, Copy)]
pub(crate) enum Banned {
    /// A part of an identifier, in whatever case: `gquic` is in `GquicFrame`, `is_gquic` and `gquic`.
    Part(&'static str),
    /// A part of an identifier in camel case, as spelled: `Version` is in `VersionSpec`, not in `version` or `Conversion`.
    Camel(&'static str),
}

/// Banned words among the identifiers; comments and strings may explain.
pub(crate) fn banned_words(file: &str, source: &Source, banned: &[Banned]) -> Vec<Finding> {
    let code = &source.code;
    let mut findings = Vec::new();
    for (at, identifier) in identifiers(code) {
        let parts = parts(identifier);
        for &word in banned {
            let (word, hit) = match word {
                Banned::Part(word) => (word, parts.iter().any(|part| part.eq_ignore_ascii_case(word))),
                Banned::Camel(word) => (word, parts.contains(&word)),
            };
            if hit {
                let what = format!(
                    "`{identifier}`: this folder does not know the word `{word}`; the families and connection/ do"
                );
                findings.push(Finding::new("banned-word", file, line_of(code, at), what));
            }
        }
    }
    findings
}

/// The parts of an identifier: `is_GquicFrame` → is, Gquic, Frame.
fn parts(identifier: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    for word in identifier.split('_') {
        let bytes = word.as_bytes();
        let mut start = 0;
        for i in 1..bytes.len() {
            if bytes[i].is_ascii_uppercase() && !bytes[i - 1].is_ascii_uppercase() {
                parts.push(&word[start..i]);
                start = i;
            }
        }
        parts.push(&word[start..]);
    }
    parts
}

/// The order of a crate's modules: each may use itself and what stands before it. `a::b` names a part of `a` with a place of its own.
pub(crate) struct Order(pub(crate) &'static [&'static str]);

impl Order {
    /// Where the module path stands.
    fn rank<S: AsRef<str>>(&self, path: &[S]) -> Option<usize> {
        let first = path.first()?.as_ref();
        let part = path.get(1).map(|second| format!("{first}::{}", second.as_ref()));
        let place = |name: &str| self.0.iter().position(|module| *module == name);
        part.and_then(|name| place(&name)).or_else(|| place(first))
    }

    /// Uses in `file` (with `module`, its path in the crate) of modules that stand behind its own.
    pub(crate) fn check(&self, file: &str, module: &[String], source: &Source) -> Vec<Finding> {
        if module.is_empty() {
            return Vec::new(); // lib.rs names everything
        }
        let Some(own) = self.rank(module) else {
            let what =
                format!("module {} has no place in the order of tests/tidy.rs; give it one", module[0]);
            return vec![Finding::new("direction", file, 1, what)];
        };
        let code = &source.shipped;
        let mut findings = Vec::new();
        for (at, path) in crate_paths(code, module.len()) {
            let what = match self.rank(&path) {
                Some(used) if used <= own => continue,
                Some(used) => format!("{} may not use {}, which stands behind it", self.0[own], self.0[used]),
                None => format!("crate::{}: name the module that owns it, not a re-export", path.join("::")),
            };
            findings.push(Finding::new("direction", file, line_of(code, at), what));
        }
        findings
    }
}

/// All paths from the root of the crate, two names deep, in a file of a module that stands `depth` below the root.
fn crate_paths(code: &str, depth: usize) -> Vec<(usize, Vec<String>)> {
    let mut paths = Vec::new();
    let mut add = |at, path: Vec<String>| {
        // `crate` alone is a visibility; `crate::name!` is a macro, which has no module.
        let is_macro = path.len() == 2 && path[1].ends_with('!');
        if path.len() > 1 && !is_macro {
            paths.push((at, path[1..].to_vec()));
        }
    };
    for at in words(code, "crate") {
        use_tree(code, at, 3).into_iter().for_each(|path| add(at, path));
    }
    for at in words(code, "super").filter(|&at| before(code, at) != Some(b':')) {
        let (mut last, mut climbed) = (at, 1);
        while let Some(next) = after_colons(code, last + 5).filter(|&next| word_at(code, next) == "super") {
            (last, climbed) = (next, climbed + 1);
        }
        if climbed == depth {
            use_tree(code, last, 3).into_iter().for_each(|path| add(at, path));
        }
    }
    paths
}

/// Where a path goes on behind `::` at `at`, if it does.
fn after_colons(code: &str, at: usize) -> Option<usize> {
    let at = skip_space(code, at);
    code[at..].starts_with("::").then(|| skip_space(code, at + 2))
}

/// The paths that begin with the name at `at`, `depth` names deep, groups resolved: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn use_tree(code: &str, at: usize, depth: usize) -> Vec<Vec<String>> {
    let name = word_at(code, at);
    if code[at..].starts_with('*') || name.is_empty() {
        return vec![vec!["*".to_string()]];
    }
    let end = at + name.len();
    let own = if code[end..].starts_with('!') && !code[end..].starts_with("!=") {
        format!("{name}!")
    } else {
        name.to_string()
    };
    let Some(next) = after_colons(code, end).filter(|_| depth > 1) else {
        return vec![vec![own]];
    };
    let mut tails = Vec::new();
    if code[next..].starts_with('{') {
        let end = closing(code, next) - 1;
        let mut element = skip_space(code, next + 1);
        while element < end {
            tails.extend(use_tree(code, element, depth - 1));
            element = skip_space(code, next_element(code, element, end));
        }
    } else if is_word(code.as_bytes().get(next).copied().unwrap_or(b' ')) || code[next..].starts_with('*') {
        tails = use_tree(code, next, depth - 1);
    }
    if tails.is_empty() {
        return vec![vec![own]]; // `a::<T>` or the like
    }
    tails.into_iter().map(|tail| [vec![own.clone()], tail].concat()).collect()
}

/// Behind the comma that ends the element of a group at `at`; `end` if it is the last.
fn next_element(code: &str, at: usize, end: usize) -> usize {
    let mut at = at;
    while at < end {
        match code.as_bytes()[at] {
            b',' => return at + 1,
            b'{' => at = closing(code, at),
            _ => at += 1,
        }
    }
    end
}

/// The crates of the workspace that a manifest names as dependencies, those for development apart.
pub(crate) fn dependencies<'a>(manifest: &str, workspace: &[&'a str]) -> Vec<&'a str> {
    let mut inside = false;
    let mut found = Vec::new();
    for line in manifest.lines().map(str::trim) {
        if let Some(table) = line.strip_prefix('[') {
            let table = table.trim_end_matches(']').trim();
            let is_table = |suffix: &str| table == suffix || table.ends_with(&format!(".{suffix}"));
            inside = is_table("dependencies") || is_table("build-dependencies");
            // [dependencies.name]
            if let Some((before, name)) = table.rsplit_once('.') {
                let named = before == "dependencies" || before.ends_with(".dependencies");
                found.extend(workspace.iter().filter(|&&krate| named && krate == name));
            }
        } else if inside {
            let name = line.split(['=', '.', ' ']).next().unwrap_or("").trim_matches('"');
            found.extend(workspace.iter().filter(|&&krate| krate == name));
        }
    }
    found
}

/// The members that the workspace's manifest lists.
pub(crate) fn members(manifest: &str) -> Vec<String> {
    let Some(at) = find_word(manifest, "members", 0) else { return Vec::new() };
    let list = manifest[at..].split(['[', ']']).nth(1).unwrap_or("");
    list.split(',')
        .map(|name| name.trim().trim_matches('"').to_string())
        .filter(|name| !name.is_empty())
        .collect()
}
