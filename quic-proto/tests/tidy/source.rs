//! A Rust source file as the tidy test sees it: the code alone, without comments, the insides of literals, and test items.
//!
//! Everything keeps its place: what is taken out is replaced by spaces, byte for byte, and line breaks stay. An offset or a line
//! number in [`Source::code`] is therefore one in the file. The scanner knows tokens, not grammar; that is enough for rules about
//! words, paths and sizes, and it needs no parser as a dependency.

use std::ops::Range;

/// One file, scanned.
pub(crate) struct Source {
    /// The file as it is.
    pub(crate) text: String,
    /// The file with comments and the insides of literals blanked.
    pub(crate) code: String,
    /// The same with items under `#[cfg(test)]` blanked too.
    pub(crate) shipped: String,
    /// Lines that are not taken up by items under `#[cfg(test)]`.
    pub(crate) lines: usize,
    /// Modules declared `#[cfg(test)] mod name;`, whose files are tests.
    pub(crate) test_modules: Vec<String>,
}

impl Source {
    /// Scans `text`.
    pub(crate) fn new(text: &str) -> Self {
        let code = mask(text);
        let tests = test_items(&code);
        let mut shipped = code.clone().into_bytes();
        let mut test_modules = Vec::new();
        let mut test_lines = 0;
        for range in &tests {
            let item = &code[range.clone()];
            test_lines += item.matches('\n').count() + 1;
            if let (true, Some(at)) = (item.ends_with(';'), find_word(item, "mod", 0)) {
                test_modules.push(word_at(item, skip_space(item, at + 3)).to_string());
            }
            blank(&mut shipped[range.clone()]);
        }
        let shipped =
            String::from_utf8(shipped).expect("invariant: whole characters were replaced by spaces");
        let lines = text.lines().count().saturating_sub(test_lines);
        Self { text: text.to_string(), code, shipped, lines, test_modules }
    }

    /// The functions of [`Self::shipped`] that have a body: name, first line, number of lines from `fn` to the closing brace.
    pub(crate) fn functions(&self) -> Vec<(String, usize, usize)> {
        let code = &self.shipped;
        let mut functions = Vec::new();
        for at in words(code, "fn") {
            let name = word_at(code, skip_space(code, at + 2));
            // `fn(u8)` is a type, `fn $name` is part of a macro.
            if name.is_empty() {
                continue;
            }
            if let Some(body) = body_of(code, at) {
                functions.push((
                    name.to_string(),
                    line_of(code, at),
                    code[at..body.end].matches('\n').count() + 1,
                ));
            }
        }
        functions
    }
}

/// The line number, counted from 1, of the offset `at`.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count() + 1
}

/// Whether `b` can be part of an identifier.
pub(crate) fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}

/// The identifier that begins at `at`; empty if none does.
pub(crate) fn word_at(code: &str, at: usize) -> &str {
    let rest = &code[at.min(code.len())..];
    &rest[..rest.bytes().position(|b| !is_word(b)).unwrap_or(rest.len())]
}

/// The first offset from `at` on that is no white space.
pub(crate) fn skip_space(code: &str, at: usize) -> usize {
    at + code[at..].bytes().take_while(u8::is_ascii_whitespace).count()
}

/// The last byte before `at` that is no white space.
pub(crate) fn before(code: &str, at: usize) -> Option<u8> {
    code.as_bytes()[..at].iter().rev().copied().find(|b| !b.is_ascii_whitespace())
}

/// The first place from `from` on where `word` stands as a whole word.
pub(crate) fn find_word(code: &str, word: &str, from: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    let mut from = from;
    while let Some(found) = code.get(from..)?.find(word) {
        let (at, end) = (from + found, from + found + word.len());
        if (at == 0 || !is_word(bytes[at - 1])) && bytes.get(end).is_none_or(|&b| !is_word(b)) {
            return Some(at);
        }
        from = end;
    }
    None
}

/// All places where `word` stands as a whole word.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = find_word(code, word, from)?;
        from = at + word.len();
        Some(at)
    })
}

/// All identifiers with their offsets.
pub(crate) fn identifiers(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += code[at..].bytes().position(is_word)?;
        let (start, word) = (at, word_at(code, at));
        at += word.len();
        Some((start, word))
    })
}

fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
}

/// `text` with comments and the insides of string and character literals replaced by spaces. Quotes stay.
fn mask(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let (inside, next) = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => {
                let end = at + text[at..].find('\n').unwrap_or(text.len() - at);
                (at..end, end)
            }
            b'/' if bytes.get(at + 1) == Some(&b'*') => {
                let end = block_comment(bytes, at);
                (at..end, end)
            }
            b'"' => quoted(bytes, at),
            b'r' if at == 0 || !is_word(bytes[at - 1]) || is_prefixed_raw(bytes, at) => {
                match raw_string(text, at) {
                    Some(found) => found,
                    None => (at..at, at + 1),
                }
            }
            b'\'' => character(text, at),
            _ => (at..at, at + 1),
        };
        blank(&mut out[inside]);
        at = next;
    }
    String::from_utf8(out).expect("invariant: whole characters were replaced by spaces")
}

/// Whether the `r` at `at` is that of `br"…"` or `cr"…"`.
fn is_prefixed_raw(bytes: &[u8], at: usize) -> bool {
    matches!(bytes[at - 1], b'b' | b'c') && (at < 2 || !is_word(bytes[at - 2]))
}

/// Where the block comment that begins at `at` ends; they nest.
fn block_comment(bytes: &[u8], at: usize) -> usize {
    let (mut at, mut depth) = (at, 0);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => (depth, at) = (depth + 1, at + 2),
            (b'*', Some(b'/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The inside of the string whose opening quote is at `at`, and where the code goes on.
fn quoted(bytes: &[u8], at: usize) -> (Range<usize>, usize) {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != b'"' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    let end = end.min(bytes.len());
    (at + 1..end, (end + 1).min(bytes.len()))
}

/// The same for a raw string whose `r` is at `at`; `None` if there is none (`r#type` is an identifier).
fn raw_string(text: &str, at: usize) -> Option<(Range<usize>, usize)> {
    let hashes = text[at + 1..].bytes().take_while(|&b| b == b'#').count();
    let start = at + 1 + hashes;
    if text.as_bytes().get(start) != Some(&b'"') {
        return None;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let end = text[start + 1..].find(&close).map_or(text.len(), |found| start + 1 + found);
    Some((start + 1..end, (end + close.len()).min(text.len())))
}

/// The same for a character literal; a lifetime has no inside.
fn character(text: &str, at: usize) -> (Range<usize>, usize) {
    let rest = &text[at + 1..];
    let end = if rest.starts_with('\\') {
        // The escaped character may itself be the quote.
        rest.char_indices().skip(2).find(|&(_, c)| c == '\'').map(|(i, _)| i)
    } else {
        rest.chars().next().map(char::len_utf8).filter(|&len| rest[len..].starts_with('\''))
    };
    match end {
        Some(len) => (at + 1..at + 1 + len, at + 2 + len),
        None => (at..at, at + 1),
    }
}

/// Where the items under `#[cfg(test)]` or `#[cfg(all(test, …))]` are, attributes included. `any(test, …)` also ships, so it stays.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items: Vec<Range<usize>> = Vec::new();
    for at in words(code, "cfg") {
        let condition: String = code[at + 3..].chars().take(40).filter(|c| !c.is_whitespace()).collect();
        let is_test = condition.starts_with("(test)]")
            || condition.starts_with("(all(test,")
            || condition.starts_with("(all(test)");
        let opened = code[..at].trim_end();
        if !is_test || items.last().is_some_and(|last| at < last.end) {
            continue;
        }
        if opened.ends_with("#![") {
            return std::iter::once(0..code.len()).collect();
        }
        if opened.ends_with("#[") {
            let start = opened.len() - 2;
            items.push(start..item_end(code, start));
        }
    }
    items
}

/// Where the item whose attributes begin at `at` ends.
fn item_end(code: &str, at: usize) -> usize {
    let mut at = at;
    while code[at..].starts_with("#[") {
        at = skip_space(code, closing(code, at + 1));
    }
    if word_at(code, at) == "pub" {
        at = skip_space(code, at + 3);
        if code[at..].starts_with('(') {
            at = skip_space(code, closing(code, at));
        }
    }
    let keyword = word_at(code, at);
    let braces_end = !matches!(keyword, "use" | "const" | "static" | "type" | "let");
    let item = !braces_end
        || matches!(
            keyword,
            "fn" | "mod" | "impl" | "struct" | "enum" | "trait" | "union" | "async" | "unsafe"
        )
        || matches!(keyword, "extern" | "macro_rules" | "thread_local" | "proptest");
    let bytes = code.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b';' => return at + 1,
            // A field, a variant, an argument or a match arm.
            b',' if !item => return at + 1,
            b'}' | b')' | b']' => return at,
            b'{' if braces_end && item => return closing(code, at),
            b'{' | b'(' | b'[' => at = closing(code, at),
            _ => at += 1,
        }
    }
    at
}

/// Behind the bracket that closes the one at `at`.
pub(crate) fn closing(code: &str, at: usize) -> usize {
    let mut depth = 0;
    for (i, b) in code.bytes().enumerate().skip(at) {
        match b {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i + 1;
        }
    }
    code.len()
}

/// The braces of the function whose `fn` is at `at`; `None` if it is only declared.
fn body_of(code: &str, at: usize) -> Option<Range<usize>> {
    let bytes = code.as_bytes();
    let mut at = at;
    while at < bytes.len() {
        match bytes[at] {
            b';' | b'}' => return None,
            b'{' => return Some(at..closing(code, at)),
            b'(' | b'[' => at = closing(code, at),
            _ => at += 1,
        }
    }
    None
}

#[test]
fn comments_and_literals_are_blanked_in_place() {
    for (text, code) in [
        ("a // fn b() {\nc", "a            \nc"),
        ("a /* x /* y */ z */ b", "a                   b"),
        (r#"f("fn x() { \" }") + 1"#, r#"f("             ") + 1"#),
        (r##"f(r#"a " b"#) + 1"##, r##"f(r#"     "#) + 1"##),
        (r##"f(br#"}"#, b"}", b'}')"##, r##"f(br#" "#, b" ", b' ')"##),
        ("let r#type = '{'; let c: &'a str = x;", "let r#type = ' '; let c: &'a str = x;"),
        (r"m('\'', '\\', '\u{7d}', 'é', '}')", "m('  ', '  ', '      ', '  ', ' ')"),
        ("for 'a' .. 'b'", "for ' ' .. ' '"),
        ("'outer: loop { break 'outer }", "'outer: loop { break 'outer }"),
        ("\"// no comment\" x", "\"             \" x"),
        ("\"open", "\"    "),
        ("/* open", "       "),
    ] {
        assert_eq!(mask(text), code, "{text}");
    }
}

#[test]
fn test_items_are_taken_out_and_not_counted() {
    for (text, shipped, lines) in [
        ("fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\n", "fn a() {}", 1),
        ("#[cfg(test)]\nuse a::{b, c};\nfn d() {}\n", "fn d() {}", 1),
        ("#[cfg(test)]\nmod tests;\nfn d() {}\n", "fn d() {}", 1),
        ("struct S {\n #[cfg(test)]\n a: Vec<u8>,\n b: u8,\n}\n", "struct S {\n b: u8,\n}", 3),
        ("#[cfg(test)]\n#[derive(Debug)]\npub(crate) struct S { a: u8 }\nfn d() {}\n", "fn d() {}", 1),
        ("#[cfg(all(test, feature = \"x\"))]\nfn a<T, U>(x: [u8; 3]) {\n}\nfn d() {}\n", "fn d() {}", 1),
        ("#[cfg(any(test, fuzzing))]\nfn d() {}\n", "#[cfg(any(test, fuzzing))]\nfn d() {}", 2),
        ("#[cfg(not(test))]\nfn d() {}\n", "#[cfg(not(test))]\nfn d() {}", 2),
        ("#[cfg(test)]\nconst A: [u8; 2] = [1; 2];\nfn d() {}\n", "fn d() {}", 1),
        ("#[cfg(test)]\nstatic A: S = S { a: 1 };\nfn d() {}\n", "fn d() {}", 1),
        ("#[cfg(test)]\nimpl A {\n#[cfg(test)]\nfn x() {}\n}\nfn d() {}\n", "fn d() {}", 1),
        ("#![cfg(test)]\nfn d() {}\n", "", 0),
    ] {
        let source = Source::new(text);
        let tidied: Vec<_> = source.shipped.lines().filter(|l| !l.trim().is_empty()).collect();
        assert_eq!(tidied.join("\n"), shipped, "{text}");
        assert_eq!(source.lines, lines, "{text}");
        assert_eq!(source.shipped.len(), text.len(), "offsets must stay: {text}");
    }
}

#[test]
fn modules_in_files_of_their_own_are_recognised_as_tests() {
    let source = Source::new("mod a;\n#[cfg(test)]\nmod model;\n#[cfg(test)]\nmod tests { fn x() {} }\n");
    assert_eq!(source.test_modules, ["model"]);
}

#[test]
fn functions_are_measured_from_fn_to_brace() {
    let text = "impl A {\n    fn one() {}\n    fn declared(&self) -> [u8; 4];\n    pub fn three(\n        x: fn(u8) -> u8,\n    ) { '}'; }\n}\n\
                fn with<const N: usize>(a: [u8; N])\nwhere\n    A: B,\n{\n    // }\n    if x { \"}\" } else { y }\n}\n\
                macro_rules! m { ($n:ident) => { fn $n() {} } }\n#[cfg(test)]\nfn t() {}\n";
    let expected = [("one", 2, 1), ("three", 4, 3), ("with", 8, 7)];
    let functions = Source::new(text).functions();
    let found: Vec<_> = functions.iter().map(|(name, line, len)| (name.as_str(), *line, *len)).collect();
    assert_eq!(found, expected);
}

#[test]
fn words_are_whole() {
    assert_eq!(words("fn fnord x.fn fn_ (fn)", "fn").collect::<Vec<_>>(), [0, 11, 19]);
    assert_eq!(identifiers("a::b_c(d1)").map(|(_, w)| w).collect::<Vec<_>>(), ["a", "b_c", "d1"]);
    assert_eq!(line_of("a\nb\nc", 2), 2);
}
