//! Certificate chains as they travel: an entry for each certificate, leaf first, and the certificates that the client does not have,
//! compressed with a preset dictionary.
//!
//! An entry says that the certificate is compressed, or cached (one of those whose hashes the client sent in CCRT), or part of a common set
//! (which no client of ours claims to have). The dictionary is made of the cached certificates of the chain, the last one first, and of
//! 1484 bytes that every implementation has.
//!
//! Invariants: what a chain unpacks to is known before anything is allocated for it, and is at most [`MAX_UNCOMPRESSED_LEN`] bytes and
//! [`MAX_CERTIFICATES`] certificates. No state, no timers.

use super::fnv::fnv64;
use crate::codec::{Reader, UnexpectedEnd};
use crate::gquic::wire::{ErrorCode, Violation};
use ::zlib_rs::{Deflate, DeflateFlush, Inflate, InflateError, InflateFlush, Status};

/// The most bytes that the compressed certificates of a chain may unpack to, with their lengths. Chromium's limit.
pub const MAX_UNCOMPRESSED_LEN: usize = 128 * 1024;
/// The most certificates of a chain. An arbitrary limit: real chains have two to four.
pub const MAX_CERTIFICATES: usize = 16;

const DICTIONARY: &[u8; 1484] = include_bytes!("cert-dictionary.bin");

const END_OF_ENTRIES: u8 = 0;
const COMPRESSED: u8 = 1;
const CACHED: u8 = 2;
const COMMON: u8 = 3;

const WINDOW_BITS: u8 = 15;
/// The chain is compressed once for all its clients, so that time matters less than bytes in every handshake.
const BEST_COMPRESSION: i32 = 9;

/// Packs a chain, leaf first, for a client that has the certificates with these hashes.
pub fn compress(chain: &[impl AsRef<[u8]>], cached: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut plain = Vec::new();
    let mut known: Vec<&[u8]> = Vec::new();
    for certificate in chain.iter().map(AsRef::as_ref) {
        let hash = fnv64(certificate);
        if cached.contains(&hash) {
            out.push(CACHED);
            out.extend(hash.to_le_bytes());
            known.push(certificate);
        } else {
            out.push(COMPRESSED);
            plain.extend((certificate.len() as u32).to_le_bytes());
            plain.extend_from_slice(certificate);
        }
    }
    out.push(END_OF_ENTRIES);
    if !plain.is_empty() {
        out.extend((plain.len() as u32).to_le_bytes());
        out.extend(deflate(&plain, &dictionary(&known)));
    }
    out
}

/// Unpacks a chain, leaf first. `cached` are the certificates whose hashes the client sent, if any.
///
/// # Errors
/// `PROOF_INVALID`, if it is not well-formed, refers to what the client does not have, or exceeds a limit.
pub fn decompress(packed: &[u8], cached: &[impl AsRef<[u8]>]) -> Result<Vec<Vec<u8>>, Violation> {
    let mut r = Reader::new(packed);
    let entries = read_entries(&mut r, cached)?;
    let known: Vec<&[u8]> = entries.iter().flatten().copied().collect();
    let plain = if known.len() < entries.len() { inflate(&mut r, &dictionary(&known))? } else { Vec::new() };
    if !r.is_empty() {
        return Err(invalid("something follows the chain"));
    }
    let mut plain = Reader::new(&plain);
    let mut chain = Vec::with_capacity(entries.len());
    for entry in entries {
        let certificate = match entry {
            Some(known) => known,
            None => read_certificate(&mut plain).map_err(|_| invalid("a certificate is truncated"))?,
        };
        chain.push(certificate.to_vec());
    }
    if !plain.is_empty() {
        return Err(invalid("there are more certificates than entries"));
    }
    Ok(chain)
}

fn invalid(reason: &'static str) -> Violation {
    Violation::new(ErrorCode::PROOF_INVALID, reason)
}

/// Reads the entries up to their end: a certificate that is known, or `None` for one that is compressed. There is at least one.
fn read_entries<'a>(
    r: &mut Reader<'_>,
    cached: &'a [impl AsRef<[u8]>],
) -> Result<Vec<Option<&'a [u8]>>, Violation> {
    let truncated = |_: UnexpectedEnd| invalid("the entries of the chain are truncated");
    let mut entries = Vec::new();
    loop {
        let entry = match r.u8().map_err(truncated)? {
            END_OF_ENTRIES => break,
            COMPRESSED => None,
            CACHED => {
                let hash = u64::from_le_bytes(r.array().map_err(truncated)?);
                let found = cached.iter().map(AsRef::as_ref).find(|certificate| fnv64(certificate) == hash);
                Some(found.ok_or_else(|| invalid("the chain names a certificate that was not offered"))?)
            }
            COMMON => return Err(invalid("the chain names a common set, and none was offered")),
            _ => return Err(invalid("an entry of the chain has an unknown type")),
        };
        if entries.len() == MAX_CERTIFICATES {
            return Err(invalid("the chain has too many certificates"));
        }
        entries.push(entry);
    }
    if entries.is_empty() {
        return Err(invalid("the chain is empty"));
    }
    Ok(entries)
}

fn read_certificate<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], UnexpectedEnd> {
    let len = u32::from_le_bytes(r.array()?);
    r.bytes(usize::try_from(len).map_err(|_| UnexpectedEnd)?)
}

/// `known` are the certificates of the chain that the client has, in its order.
fn dictionary(known: &[&[u8]]) -> Vec<u8> {
    known.iter().rev().copied().chain([&DICTIONARY[..]]).collect::<Vec<_>>().concat()
}

fn deflate(plain: &[u8], dictionary: &[u8]) -> Vec<u8> {
    let mut deflate = Deflate::new(BEST_COMPRESSION, true, WINDOW_BITS);
    deflate
        .set_dictionary(dictionary)
        .expect("invariant: nothing was compressed before the dictionary is set");
    let mut out = vec![0; plain.len() + plain.len() / 8 + 128];
    let status = deflate.compress(plain, &mut out, DeflateFlush::Finish);
    assert_eq!(
        status,
        Ok(Status::StreamEnd),
        "invariant: deflate adds five bytes to each block of 16 KiB at most"
    );
    out.truncate(deflate.total_out() as usize);
    out
}

/// Reads the length of what is compressed, and unpacks just that.
fn inflate(r: &mut Reader<'_>, dictionary: &[u8]) -> Result<Vec<u8>, Violation> {
    let len = r.array().map_err(|_| invalid("the length of the certificates is missing"))?;
    let len = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
    if len > MAX_UNCOMPRESSED_LEN {
        return Err(invalid("the certificates are too long"));
    }
    let stream = r.rest();
    let mut inflate = Inflate::new(true, WINDOW_BITS);
    let mut plain = vec![0; len];
    let mut status = inflate.decompress(stream, &mut plain, InflateFlush::Finish);
    if let Err(InflateError::NeedDict { .. }) = status {
        inflate
            .set_dictionary(dictionary)
            .map_err(|_| invalid("the certificates need another dictionary"))?;
        status = inflate.decompress(&stream[inflate.total_in() as usize..], &mut plain, InflateFlush::Finish);
    }
    if status != Ok(Status::StreamEnd) || inflate.total_out() != len as u64 {
        return Err(invalid("the certificates do not unpack to the length that was announced"));
    }
    r.skip(inflate.total_in() as usize).map_err(|_| invalid("the certificates are truncated"))?;
    Ok(plain)
}

#[cfg(test)]
mod tests;
