//! The protocol `hq-interop`: on each bidirectional stream a line `GET /path`, then the file, then the end.

use std::io;
use std::path::{Component, Path, PathBuf};
use tokio::io::AsyncReadExt;

/// The application protocol's name.
pub(crate) const ALPN: &str = "hq-interop";

/// The longest request line that a server reads, in bytes.
const MAX_REQUEST: usize = 4096;

/// Stream error codes of ours: hq-interop has none.
pub(crate) const BAD_REQUEST: u32 = 400;
pub(crate) const NOT_FOUND: u32 = 404;
pub(crate) const BROKEN_OFF: u32 = 500;

/// The request for the path of a URL, with its query if it has one.
pub(crate) fn request(path: &str) -> String {
    format!("GET {path}\r\n")
}

/// Reads a request to the end of its line. Returns the path in it, or `None` if it is none.
pub(crate) async fn read_request(recv: &mut quic_tokio::RecvStream) -> Option<String> {
    let mut line = Vec::new();
    let mut block = [0; 512];
    while line.len() < MAX_REQUEST {
        let Ok(Some(read)) = recv.read(&mut block).await else { break };
        line.extend_from_slice(&block[..read]);
        if line.contains(&b'\n') {
            break;
        }
    }
    parse_request(&line)
}

fn parse_request(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?.split(['\r', '\n']).next()?;
    let path = line.strip_prefix("GET ")?.split([' ', '?', '#']).next()?;
    path.starts_with('/').then(|| path.to_owned())
}

/// The file that `path` names below `root`, which must be canonical. Neither `..` nor a symbolic link leads out of it.
///
/// # Errors
/// If there is no such file, or it lies elsewhere.
pub(crate) fn resolve(root: &Path, path: &str) -> io::Result<PathBuf> {
    let not_found = || io::Error::from(io::ErrorKind::NotFound);
    let decoded = decode(path).ok_or_else(not_found)?;
    let relative = Path::new(decoded.trim_start_matches('/'));
    if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(not_found());
    }
    let found = root.join(relative).canonicalize()?;
    if found.starts_with(root) && found.is_file() { Ok(found) } else { Err(not_found()) }
}

/// Undoes percent encoding (RFC 3986 §2.1).
fn decode(path: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok().filter(|path| !path.contains('\0'))
}

/// The sending side of a stream that is reset if it is dropped before its end.
///
/// hq-interop names no length: the end of the stream is all that tells a client that it has the whole file. A stream that is dropped
/// is finished, so whatever breaks an answer off (a file that cannot be read, a task that is aborted) would look like its end.
pub(crate) struct Reply {
    send: quic_tokio::SendStream,
    whole: bool,
}

impl Reply {
    pub(crate) fn new(send: quic_tokio::SendStream) -> Self {
        Self { send, whole: false }
    }

    pub(crate) async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        Ok(self.send.write_all(data).await?)
    }

    /// The answer is whole.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        self.whole = true;
        self.send.finish().map_err(io::Error::other)
    }

    /// There is no answer, or no more of it.
    pub(crate) fn reset(&mut self, code: u32) {
        self.whole = true;
        // The connection may be closed: then the client knows as much.
        let _ = self.send.reset(quic_tokio::AppError::from(code));
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if !self.whole {
            self.reset(BROKEN_OFF);
        }
    }
}

/// Sends the file that `path` names and finishes the stream. Returns its size in bytes.
///
/// # Errors
/// If there is no such file, it cannot be read, or the client no longer wants it. What is done with the stream is the caller's.
pub(crate) async fn answer(root: &Path, send: &mut Reply, path: &str) -> io::Result<u64> {
    let mut file = tokio::fs::File::open(resolve(root, path)?).await?;
    let (mut block, mut total) = (vec![0; 256 * 1024], 0);
    loop {
        let read = file.read(&mut block).await?;
        if read == 0 {
            break;
        }
        send.write(&block[..read]).await?;
        total += read as u64;
    }
    send.finish()?;
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_lines() {
        assert_eq!(parse_request(b"GET /a/b\r\n").as_deref(), Some("/a/b"));
        assert_eq!(parse_request(b"GET /a").as_deref(), Some("/a"));
        assert_eq!(parse_request(b"GET a\r\n"), None);
        assert_eq!(parse_request(b"POST /a\r\n"), None);
        assert_eq!(parse_request(b"\xff\r\n"), None);
    }

    #[test]
    fn paths_stay_below_the_root() {
        let root = std::env::temp_dir().join(format!("quic-hq-{}", std::process::id()));
        let outside = root.with_extension("secret");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(root.join("sub/a b"), "x").unwrap();
        std::fs::write(&outside, "x").unwrap();
        #[cfg(unix)]
        let _ = std::os::unix::fs::symlink(&outside, root.join("link"));
        let canonical = root.canonicalize().unwrap();
        assert!(resolve(&canonical, "/sub/a%20b").is_ok());
        let name = outside.file_name().unwrap().to_str().unwrap();
        for path in [
            &format!("/../{name}"),
            &format!("/%2e%2e/{name}"),
            "/sub",
            "/link",
            "//etc/passwd",
            "/%00",
            "/%2",
            "/",
        ] {
            assert!(resolve(&canonical, path).is_err(), "{path}");
        }
        std::fs::remove_dir_all(&root).unwrap();
        std::fs::remove_file(&outside).unwrap();
    }
}
