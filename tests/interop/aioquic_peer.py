#!/usr/bin/env python3
"""An independent hq-interop peer on aioquic, to test the `quic` command against.

    aioquic_peer.py cert   --out DIR
    aioquic_peer.py server --root DIR --cert PEM --key PEM [--host H] [--port N] [--retry] [--loss P] [--seed N]
    aioquic_peer.py client -o DIR (--ca PEM | --insecure) [--retry] [--loss P] [--seed N] [--timeout S] URL...

hq-interop: a client opens one bidirectional stream per file and sends `GET /path` CR LF, then FIN; the server answers with the
bytes of the file, then FIN. A file that cannot be had is answered by a reset of the stream.

`--loss P` drops each datagram with probability P, those sent and those received alike, inside this process, so that no
privileges and no special network are needed. `--retry` makes the server ask every client for a Retry token, and makes the client
fail unless the server asked it for one.
"""

import argparse
import asyncio
import datetime
import ipaddress
import random
import signal
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.asyncio.server import QuicServer
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StopSendingReceived, StreamDataReceived, StreamReset

ALPN = ["hq-interop"]
MAX_REQUEST = 4096  # bytes; a longer request line is refused, as a server facing strangers would
NOT_FOUND = 1  # application error code of a reset that answers for a missing file


class Loss:
    """A seeded coin that is tossed for every datagram, and a count of what it did."""

    def __init__(self, probability, seed):
        self.probability = probability
        self.random = random.Random(seed)
        self.seen = 0
        self.dropped = 0

    def strikes(self):
        self.seen += 1
        struck = self.random.random() < self.probability
        self.dropped += struck
        return struck

    def report(self):
        print(f"datagrams: {self.seen}, dropped on purpose: {self.dropped}", file=sys.stderr, flush=True)


class LossyTransport:
    """A datagram transport that loses some of what it is given to send."""

    def __init__(self, transport, loss):
        self._transport = transport
        self._loss = loss

    def sendto(self, data, addr=None):
        if not self._loss.strikes():
            self._transport.sendto(data, addr)

    def __getattr__(self, name):
        return getattr(self._transport, name)


class Lossy:
    """Mixed into whatever owns the socket: loses datagrams in both directions."""

    loss = None

    def connection_made(self, transport):
        super().connection_made(LossyTransport(transport, self.loss))

    def datagram_received(self, data, addr):
        if not self.loss.strikes():
            super().datagram_received(data, addr)


# --- server ---


class LossyServer(Lossy, QuicServer):
    """The listening socket; it hands its (lossy) transport to the connections."""

    def __init__(self, loss, **kwargs):
        super().__init__(**kwargs)
        self.loss = loss


class FileServer(QuicConnectionProtocol):
    """One connection of a client that fetches files below `root`."""

    root = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.requests = {}

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived):
            request = self.requests.setdefault(event.stream_id, bytearray())
            if request is None:
                return  # answered already
            request += event.data
            if event.end_stream or b"\n" in request or len(request) > MAX_REQUEST:
                self.requests[event.stream_id] = None
                self.answer(event.stream_id, bytes(request))
        elif isinstance(event, (StreamReset, StopSendingReceived)):
            self.requests[event.stream_id] = None

    def answer(self, stream_id, request):
        if stream_id & 2:
            return  # unidirectional: nothing can be answered there
        body = self.body(request)
        if body is None:
            self._quic.reset_stream(stream_id, NOT_FOUND)
        else:
            self._quic.send_stream_data(stream_id, body, end_stream=True)

    def body(self, request):
        words = request.split()
        if len(words) != 2 or words[0] != b"GET" or len(request) > MAX_REQUEST:
            return None
        file = (self.root / words[1].decode("utf-8", "replace").lstrip("/")).resolve()
        if not file.is_relative_to(self.root) or not file.is_file():
            return None
        return file.read_bytes()


async def serve(args):
    configuration = QuicConfiguration(is_client=False, alpn_protocols=ALPN)
    configuration.load_cert_chain(args.cert, args.key)
    loss = Loss(args.loss, args.seed)
    protocol = type("Protocol", (FileServer,), {"root": Path(args.root).resolve(strict=True)})
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(
        lambda: LossyServer(loss, configuration=configuration, create_protocol=protocol, retry=args.retry),
        local_addr=(args.host, args.port),
    )
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    print(f"listening on port {transport.get_extra_info('sockname')[1]}", flush=True)
    await stop.wait()
    server.close()
    loss.report()
    return 0


# --- client ---


class Fetch:
    """One file on its way to disk."""

    def __init__(self, path, file):
        self.path = path
        self.out = file.open("wb")
        self.done = asyncio.get_running_loop().create_future()
        self.received = 0

    def data(self, data, fin):
        self.out.write(data)
        self.received += len(data)
        if fin:
            self.finish(None)

    def finish(self, problem):
        if not self.done.done():
            self.out.close()
            self.done.set_result(problem)


class FileClient(Lossy, QuicConnectionProtocol):
    """A connection that fetches files, all at once."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fetches = {}
        self.ended = None

    def fetch(self, path, file):
        fetch = Fetch(path, file)
        if self.ended is not None:
            fetch.finish(self.ended)
            return fetch
        stream_id = self._quic.get_next_available_stream_id()
        self.fetches[stream_id] = fetch
        self._quic.send_stream_data(stream_id, f"GET {path}\r\n".encode(), end_stream=True)
        return fetch

    def quic_event_received(self, event):
        if isinstance(event, StreamDataReceived) and event.stream_id in self.fetches:
            self.fetches[event.stream_id].data(event.data, event.end_stream)
        elif isinstance(event, StreamReset) and event.stream_id in self.fetches:
            self.fetches[event.stream_id].finish(f"reset by the server, code {event.error_code}")
        elif isinstance(event, ConnectionTerminated):
            self.ended = f"connection closed: code {event.error_code} {event.reason_phrase}".rstrip()
            for fetch in self.fetches.values():
                fetch.finish(self.ended)

    def was_retried(self):
        # aioquic keeps this to itself; the version is pinned.
        return self._quic._retry_source_connection_id is not None


async def get(args):
    urls = [urlsplit(url) for url in args.urls]
    hosts = {(url.hostname, url.port or 443) for url in urls}
    if len(hosts) != 1:
        sys.exit("all URLs must name one server")
    (host, port), out = hosts.pop(), Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    configuration = QuicConfiguration(is_client=True, alpn_protocols=ALPN)
    if args.insecure:
        configuration.verify_mode = ssl.CERT_NONE
    else:
        configuration.load_verify_locations(cafile=args.ca)
    loss = Loss(args.loss, args.seed)
    protocol = type("Protocol", (FileClient,), {"loss": loss})
    try:
        async with connect(host, port, configuration=configuration, create_protocol=protocol) as client:
            fetches = [client.fetch(url.path, out / Path(url.path).name) for url in urls]
            client.transmit()
            problems = [(f.path, await f.done) for f in fetches]
            retried = client.was_retried()
    finally:
        loss.report()
    failed = [(path, problem) for path, problem in problems if problem is not None]
    for path, problem in failed:
        print(f"{path}: {problem}", file=sys.stderr)
    if args.retry and not retried:
        print("the server was expected to send a Retry packet and did not", file=sys.stderr)
        return 1
    print(f"fetched {len(problems) - len(failed)} of {len(problems)} files, {sum(f.received for f in fetches)} bytes")
    return 1 if failed else 0


async def get_in_time(args):
    try:
        return await asyncio.wait_for(get(args), args.timeout)
    except (TimeoutError, asyncio.TimeoutError):
        print(f"not done after {args.timeout:g} s", file=sys.stderr)
    except ConnectionError:
        print("the handshake failed", file=sys.stderr)
    return 1


# --- certificates ---


def make_certificates(args):
    """A throw-away authority and a certificate of it for this machine's loopback names: ca.pem, cert.pem, key.pem."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.timezone.utc)

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def certificate(subject, key):
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("interop test authority"))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=7))
        )

    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = (
        certificate("interop test authority", ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(ca_usage, critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    names = [x509.DNSName("localhost")]
    names += [x509.IPAddress(ipaddress.ip_address(a)) for a in ("127.0.0.1", "::1")]
    leaf = (
        certificate("localhost", key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem, out = serialization.Encoding.PEM, Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "ca.pem").write_bytes(ca.public_bytes(pem))
    (out / "cert.pem").write_bytes(leaf.public_bytes(pem))
    (out / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return 0


def main():
    parser = argparse.ArgumentParser(description="hq-interop over aioquic: a peer to test against")
    commands = parser.add_subparsers(required=True)

    cert = commands.add_parser("cert", help="write ca.pem, cert.pem and key.pem for localhost")
    cert.add_argument("--out", required=True)
    cert.set_defaults(run=make_certificates)

    lossy = argparse.ArgumentParser(add_help=False)
    lossy.add_argument("--loss", type=float, default=0.0, help="probability that a datagram is dropped, each way")
    lossy.add_argument("--seed", type=int, default=1, help="seed of the loss")

    server = commands.add_parser("server", parents=[lossy], help="serve the files below a folder")
    server.add_argument("--root", required=True)
    server.add_argument("--cert", required=True)
    server.add_argument("--key", required=True)
    server.add_argument("--host", default="127.0.0.1")
    server.add_argument("--port", type=int, default=0, help="0: any free one; it is printed")
    server.add_argument("--retry", action="store_true", help="validate every client's address by a Retry packet")
    server.set_defaults(run=lambda args: asyncio.run(serve(args)))

    client = commands.add_parser("client", parents=[lossy], help="fetch files in parallel on one connection")
    client.add_argument("urls", nargs="+", metavar="URL")
    client.add_argument("-o", "--out", required=True, help="folder for the files")
    trust = client.add_mutually_exclusive_group(required=True)
    trust.add_argument("--ca", help="PEM file of the authority to trust")
    trust.add_argument("--insecure", action="store_true", help="trust any certificate")
    client.add_argument("--retry", action="store_true", help="fail unless the server sent a Retry packet")
    client.add_argument("--timeout", type=float, default=120.0, help="seconds for everything")
    client.set_defaults(run=lambda args: asyncio.run(get_in_time(args)))

    args = parser.parse_args()
    return args.run(args)


if __name__ == "__main__":
    sys.exit(main())
