//! Handshake messages: tags with values, little-endian, sent back to back on stream 1.
//!
//! Owns their parsing, their limits and their building. A message starts with its tag, the count of entries (2 bytes) and two bytes
//! without meaning; then come the entries, each a tag and the end of its value, counted from the start of the values; then the values.
//!
//! Invariants: a parsed [`Message`] has at most [`MAX_ENTRIES`] entries with ascending tags and values of at most [`MAX_VALUE_LEN`] bytes,
//! and is at most [`MAX_LEN`] long; it borrows what it was read from, whose bytes enter hashes and keys as they came. No timers.

use super::error::{ErrorCode, Violation};
use std::borrow::Cow;
use std::fmt;

/// The most entries of a message.
pub const MAX_ENTRIES: usize = 128;
/// The most bytes of a value.
pub const MAX_VALUE_LEN: usize = 4000;
/// The most bytes of a message: more than quic-go's window of stream 1 can never arrive.
pub const MAX_LEN: usize = 32768;
/// What the entries and values of a CHLO are padded to, without the entry of the padding. quic-go pads so; with less than 1024 bytes
/// quic-go and Chromium refuse a CHLO.
pub const CHLO_PADDED_LEN: usize = 1024;

const HEAD_LEN: usize = 8;
const ENTRY_LEN: usize = 8;

/// The name of a message or of a value: four bytes, ordered as a little-endian number.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(u32);

impl Tag {
    /// The tag of these bytes.
    pub const fn new(bytes: [u8; 4]) -> Self {
        Self(u32::from_le_bytes(bytes))
    }

    /// Its bytes.
    pub const fn to_bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.to_bytes();
        let name = bytes.strip_suffix(&[0]).or_else(|| bytes.strip_suffix(&[0xff])).unwrap_or(&bytes);
        write!(f, "{}", name.escape_ascii())
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The tags in use.
pub mod tags {
    use super::Tag;

    macro_rules! tags {
        ($($name:ident = $bytes:literal, $doc:literal;)*) => {
            $(#[doc = $doc] pub const $name: Tag = Tag::new(*$bytes);)*
        };
    }

    tags! {
        CHLO = b"CHLO", "Message: the client's hello.";
        REJ = b"REJ\0", "Message: the server's rejection, which tells the client what it lacks.";
        SHLO = b"SHLO", "Message: the server's hello.";
        SCFG = b"SCFG", "Message: the server's config; also the value that holds it.";
        PRST = b"PRST", "Message: a public reset.";
        SCUP = b"SCUP", "Message: a new server config, from Chromium's servers.";
        PAD = b"PAD\0", "Padding.";
        SNI = b"SNI\0", "The host name.";
        STK = b"STK\0", "The source address token.";
        SNO = b"SNO\0", "The server's nonce, 32 bytes.";
        VER = b"VER\0", "In a CHLO the version of the very first packet, in a SHLO all versions of the server.";
        CCS = b"CCS\0", "Hashes of the common certificate sets that the client has.";
        NONC = b"NONC", "The client's nonce: time, orbit and 20 random bytes.";
        NONP = b"NONP", "The client's nonce for the proof.";
        AEAD = b"AEAD", "AEADs: a list of tags.";
        KEXS = b"KEXS", "Key exchanges: a list of tags.";
        SCID = b"SCID", "The name of a server config, 16 bytes.";
        PUBS = b"PUBS", "Public keys; with lengths in a server config, bare elsewhere.";
        PDMD = b"PDMD", "The kinds of proof that the client takes.";
        XLCT = b"XLCT", "The hash of the leaf certificate that the client expects, 8 bytes.";
        CCRT = b"CCRT", "Hashes of certificates that the client has, 8 bytes each.";
        CSCT = b"CSCT", "Certificate timestamps.";
        ICSL = b"ICSL", "The idle timeout in seconds.";
        MIDS = b"MIDS", "How many streams the peer may have open.";
        CFCW = b"CFCW", "The initial receive window of the connection.";
        SFCW = b"SFCW", "The initial receive window of each stream.";
        TCID = b"TCID", "The wish to leave out the connection id.";
        COPT = b"COPT", "Connection options.";
        NSTP = b"NSTP", "The client does not want a public reset.";
        SVID = b"SVID", "The name of the server's software.";
        STTL = b"STTL", "For how many seconds the server config is valid.";
        RREJ = b"RREJ", "Reasons of a rejection.";
        PROF = b"PROF", "The signature.";
        CRT = b"CRT\xff", "The certificate chain.";
        CADR = b"CADR", "The client's address as the server sees it.";
        SRST = b"SRST", "The token of stateless resets.";
        OBIT = b"OBIT", "The orbit of a server config, 8 bytes.";
        EXPY = b"EXPY", "When a server config expires, in Unix seconds.";
        RNON = b"RNON", "The nonce of a public reset.";
        RSEQ = b"RSEQ", "The packet number that a public reset rejects.";
        AESG = b"AESG", "Value: AES-128-GCM with tags of 12 bytes.";
        C255 = b"C255", "Value: X25519.";
        X509 = b"X509", "Value: X.509 certificates.";
    }
}

/// A message, borrowing from what it was read from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    bytes: &'a [u8],
    entries: &'a [[u8; ENTRY_LEN]],
    values: &'a [u8],
}

impl<'a> Message<'a> {
    /// Reads the message at the start of `bytes`; `None` if it is not complete yet. [`len`](Self::len) tells what it took.
    ///
    /// # Errors
    /// If it breaks a limit or the order of tags; that is known from its head already.
    pub fn parse(bytes: &'a [u8]) -> Result<Option<Self>, Violation> {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() else { return Ok(None) };
        let count = usize::from(u16::from_le_bytes([head[4], head[5]]));
        if count > MAX_ENTRIES {
            let reason = format!("{count} entries in a handshake message, more than {MAX_ENTRIES}");
            return Err(Violation::new(ErrorCode::CRYPTO_TOO_MANY_ENTRIES, reason));
        }
        let index_len = count * ENTRY_LEN;
        // What has come of the index is checked before the rest is waited for.
        let (entries, _) = rest[..rest.len().min(index_len)].as_chunks();
        let values_len = check_entries(entries)?;
        let Some(values) = rest.get(index_len..index_len + values_len) else { return Ok(None) };
        let bytes = &bytes[..HEAD_LEN + index_len + values_len];
        Ok(Some(Self { bytes, entries, values }))
    }

    /// Reads a message that fills `bytes`, such as the value of SCFG.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); and if it ends early or something follows.
    pub fn parse_whole(bytes: &'a [u8]) -> Result<Self, Violation> {
        Self::parse(bytes)?.filter(|message| message.bytes.len() == bytes.len()).ok_or_else(|| {
            Violation::new(ErrorCode::CRYPTO_INVALID_VALUE_LENGTH, "a message does not fill its place")
        })
    }

    /// What kind of message this is.
    pub fn tag(&self) -> Tag {
        Tag(u32::from_le_bytes([self.bytes[0], self.bytes[1], self.bytes[2], self.bytes[3]]))
    }

    /// The whole message, head to last value, as it came.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The length of the whole message.
    #[expect(clippy::len_without_is_empty, reason = "no message is empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The value of `tag`.
    pub fn get(&self, tag: Tag) -> Option<&'a [u8]> {
        self.entries.binary_search_by_key(&tag, |entry| split(entry).0).ok().and_then(|at| self.value(at))
    }

    /// The value of `tag`, if it has just the length of the array.
    pub fn array<const N: usize>(&self, tag: Tag) -> Option<&'a [u8; N]> {
        self.get(tag)?.try_into().ok()
    }

    /// The value of `tag` as a number, if it has 4 bytes.
    pub fn u32(&self, tag: Tag) -> Option<u32> {
        self.array(tag).map(|bytes| u32::from_le_bytes(*bytes))
    }

    /// The value of `tag` as a number, if it has 8 bytes.
    pub fn u64(&self, tag: Tag) -> Option<u64> {
        self.array(tag).map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// The value of `tag` as a list of tags; what is left of it behind the last whole one does not count.
    pub fn tag_list(&self, tag: Tag) -> Option<impl Iterator<Item = Tag> + 'a> {
        self.get(tag).map(|list| list.as_chunks().0.iter().map(|bytes| Tag::new(*bytes)))
    }

    /// All values with their tags, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Tag, &'a [u8])> + '_ {
        (0..).zip(self.entries).filter_map(|(at, entry)| Some((split(entry).0, self.value(at)?)))
    }

    fn value(&self, at: usize) -> Option<&'a [u8]> {
        let start = at.checked_sub(1).map_or(0, |before| split(&self.entries[before]).1);
        self.values.get(start..split(&self.entries[at]).1)
    }
}

/// `CHLO { SNI: 9 bytes, … }`: a message in a log is looked at for what is there.
impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.tag())?;
        let values = self.iter().map(|(tag, value)| (tag, format!("{} bytes", value.len())));
        f.debug_map().entries(values).finish()
    }
}

/// An entry: its tag, and where its value ends.
fn split(entry: &[u8; ENTRY_LEN]) -> (Tag, usize) {
    let [t0, t1, t2, t3, end @ ..] = *entry;
    (Tag::new([t0, t1, t2, t3]), u32::from_le_bytes(end) as usize)
}

/// Checks tags and ends, and returns how long the values are together.
fn check_entries(entries: &[[u8; ENTRY_LEN]]) -> Result<usize, Violation> {
    let mut last: Option<Tag> = None;
    let mut start = 0;
    for (tag, end) in entries.iter().map(split) {
        if last == Some(tag) {
            return Err(Violation::new(ErrorCode::CRYPTO_DUPLICATE_TAG, format!("{tag} comes twice")));
        }
        if last > Some(tag) {
            let reason = format!("{tag} is not in ascending order");
            return Err(Violation::new(ErrorCode::CRYPTO_TAGS_OUT_OF_ORDER, reason));
        }
        let len = end.checked_sub(start).filter(|len| *len <= MAX_VALUE_LEN && end <= MAX_LEN);
        if len.is_none() {
            let reason = format!("the value of {tag} goes from {start} to {end}");
            return Err(Violation::new(ErrorCode::CRYPTO_INVALID_VALUE_LENGTH, reason));
        }
        (last, start) = (Some(tag), end);
    }
    if HEAD_LEN + entries.len() * ENTRY_LEN + start > MAX_LEN {
        let reason = format!("a handshake message of more than {MAX_LEN} bytes");
        return Err(Violation::new(ErrorCode::CRYPTO_INVALID_VALUE_LENGTH, reason));
    }
    Ok(start)
}

/// Builds a message; the values may be given in any order.
#[derive(Clone, Debug)]
pub struct Builder<'a> {
    tag: Tag,
    entries: Vec<(Tag, Cow<'a, [u8]>)>,
}

impl<'a> Builder<'a> {
    /// A message without values.
    pub fn new(tag: Tag) -> Self {
        Self { tag, entries: Vec::new() }
    }

    /// Adds a value, in the place of one that was there.
    pub fn put(&mut self, tag: Tag, value: impl IntoValue<'a>) -> &mut Self {
        let value = value.into_value();
        debug_assert!(value.len() <= MAX_VALUE_LEN, "{tag} is too long for a message");
        match self.entries.binary_search_by_key(&tag, |(tag, _)| *tag) {
            Ok(at) => self.entries[at].1 = value,
            Err(at) => self.entries.insert(at, (tag, value)),
        }
        self
    }

    /// Adds padding, so that entries and values are together as long as those of a CHLO must be.
    pub fn pad(&mut self) -> &mut Self {
        let len: usize = self.entries.iter().map(|(_, value)| ENTRY_LEN + value.len()).sum();
        if len < CHLO_PADDED_LEN {
            self.put(tags::PAD, vec![0; CHLO_PADDED_LEN - len]);
        }
        self
    }

    /// The message.
    pub fn finish(&self) -> Vec<u8> {
        let values_len: usize = self.entries.iter().map(|(_, value)| value.len()).sum();
        let mut out = Vec::with_capacity(HEAD_LEN + self.entries.len() * ENTRY_LEN + values_len);
        out.extend(self.tag.to_bytes());
        out.extend((self.entries.len() as u16).to_le_bytes());
        out.extend([0; 2]);
        let mut end = 0;
        for (tag, value) in &self.entries {
            end += value.len() as u32;
            out.extend(tag.to_bytes());
            out.extend(end.to_le_bytes());
        }
        self.entries.iter().for_each(|(_, value)| out.extend_from_slice(value));
        out
    }
}

/// What a [`Builder`] takes as a value: bytes borrowed or owned, arrays (numbers by `to_le_bytes`), tags.
pub trait IntoValue<'a> {
    /// The bytes.
    fn into_value(self) -> Cow<'a, [u8]>;
}

impl<'a> IntoValue<'a> for &'a [u8] {
    fn into_value(self) -> Cow<'a, [u8]> {
        self.into()
    }
}

impl<'a> IntoValue<'a> for Vec<u8> {
    fn into_value(self) -> Cow<'a, [u8]> {
        self.into()
    }
}

impl<'a, const N: usize> IntoValue<'a> for [u8; N] {
    fn into_value(self) -> Cow<'a, [u8]> {
        self.to_vec().into()
    }
}

impl<'a> IntoValue<'a> for Tag {
    fn into_value(self) -> Cow<'a, [u8]> {
        self.to_bytes().into_value()
    }
}

#[cfg(test)]
mod tests;
