//! Adapters know nothing of versions: what they do they do for all.
#![allow(missing_docs, reason = "tests")]

use std::path::{Path, PathBuf};

#[test]
fn no_adapter_names_a_version() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut read = 0;
    for adapter in ["quic-mio", "quic-tokio", "quic-udp"] {
        for path in sources(&workspace.join(adapter).join("src")) {
            let source = std::fs::read_to_string(&path).unwrap().to_lowercase();
            // Comments may say why something is as it is.
            for line in source.lines().filter(|line| !line.trim_start().starts_with("//")) {
                for word in ["q044", "gquic", "google"] {
                    assert!(!line.contains(word), "{}: {line}", path.display());
                }
            }
            read += 1;
        }
    }
    assert!(read > 15, "only {read} files were found");
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}
