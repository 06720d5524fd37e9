//! A path for TCP: two network namespaces, a TUN device in each, and `perf-link` between them.
//!
//! Owns [`Tunnel`], which takes down what it set up. The system has to be Linux, with `ip` of iproute2, and the caller root. Invariant: names are
//! those of this process, so that two runs do not meet.

use crate::process::{Bench, Core, Running};
use quic_perf::Error;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where the client and the server are.
const ADDRESSES: [&str; 2] = ["10.99.0.1", "10.99.0.2"];

/// An IP packet with as much TCP in it as the datagrams of the QUIC stacks have of QUIC, all but for some bytes of headers.
const MTU: &str = "1480";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The namespaces of the client and of the server, and what joins them.
pub(crate) struct Tunnel {
    namespaces: [Namespace; 2],
    _link: Running,
}

impl Tunnel {
    /// A path whose link takes these `args`.
    pub(crate) fn start(bench: &Bench, link: &str, args: &[String]) -> Result<Self, Error> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = |end| format!("ys{}-{number}{end}", std::process::id());
        let namespaces = [Namespace::new(name("c"))?, Namespace::new(name("s"))?];
        let names = namespaces.each_ref().map(|namespace| namespace.0.clone());
        let command = [&[link.to_owned()], &names[..], args].concat();
        let link = bench.start(Core::Any, &command)?.ready("the link is there")?;
        for (name, address) in names.iter().zip(ADDRESSES) {
            ip(&["link", "set", name, "netns", name])?;
            ip(&["-n", name, "addr", "add", &format!("{address}/24"), "dev", name])?;
            ip(&["-n", name, "link", "set", "dev", name, "mtu", MTU, "up"])?;
        }
        Ok(Self { namespaces, _link: link })
    }

    /// Where the client is to be.
    pub(crate) fn client(&self) -> Core<'_> {
        Core::Inside(&self.namespaces[0].0, ADDRESSES[0])
    }

    /// Where the server is to be.
    pub(crate) fn server(&self) -> Core<'_> {
        Core::Inside(&self.namespaces[1].0, ADDRESSES[1])
    }
}

struct Namespace(String);

impl Namespace {
    fn new(name: String) -> Result<Self, Error> {
        ip(&["netns", "add", &name])?;
        Ok(Self(name))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Who cannot delete it could not make it.
        let _ = ip(&["netns", "del", &self.0]);
    }
}

fn ip(args: &[&str]) -> Result<(), Error> {
    let done = Command::new("ip").args(args).output().map_err(|error| format!("ip: {error}"))?;
    if done.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&done.stderr);
    Err(format!("ip {}: {}", args.join(" "), complaint.lines().last().unwrap_or_default()).into())
}
