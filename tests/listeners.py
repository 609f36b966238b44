"""What the processes of a run listen on, told apart by what answers, and strangers who knock there."""

import contextlib
import socket
import ssl
import time
import urllib.request

import psutil

from daskpar.clusters.keys import PARTS, security_of

SOON = 3.0  # seconds in which a stranger is turned away


def listening(process):
    """Return the (address, port) that a process listens on."""
    return {c.laddr[:2] for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}


def kind(place, keys):
    """Return ``http`` or ``tls``, whichever a port speaks; ``other`` for neither."""
    with socket.create_connection(place, SOON) as plain, contextlib.suppress(ConnectionError):
        plain.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        if plain.recv(5) == b"HTTP/":
            return "http"
    with socket.create_connection(place, SOON) as plain:
        try:
            with _client(keys).wrap_socket(plain):
                return "tls"
        except (ssl.SSLError, ConnectionError):
            return "other"


def tls_ports(processes, keys, address, besides=frozenset()):
    """Return the port of TLS of each process that listens at all.

    Asserts that it has one such port, at the address, and at most pages on loopback; `besides` is not ours.
    """
    found = {}
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):  # it may just have ended
            if ports := listening(process) - besides:
                kinds = sorted((kind(place, keys), *place) for place in ports)
                (_, *place), *pages = reversed(kinds)
                told = (process.cmdline(), kinds)
                assert [name for name, _, _ in kinds] in (["tls"], ["http", "tls"]), told
                assert place[0] == address, told
                assert all(page[1] == "127.0.0.1" for page in pages), told
                found[process] = tuple(place)
    return found


def strangers_are_refused(place, folder):
    """Assert that a port soon turns away plain TCP, and TLS without a key of the run: silence will not do."""
    security_of("temporary", folder / "foreign")
    strangers = {"plain": None, "no key": _client(), "foreign key": _client(folder / "foreign")}
    for name, context in strangers.items():
        begun = time.monotonic()
        assert _is_refused(place, context), name
        assert time.monotonic() - begun < SOON, name


def dask_shows_its_pages(link):
    """Assert that the page of a scheduler is there, which is made when it is asked for."""
    with urllib.request.urlopen(link, timeout=60) as page:
        assert "Dask Diagnostic UI" in page.read().decode()


def _is_refused(place, context):
    with socket.create_connection(place, SOON) as plain:
        try:
            if context is None:
                plain.sendall(bytes(64))
                return not plain.recv(1)
            with context.wrap_socket(plain) as secure:
                return not secure.recv(1)
        except (ssl.SSLError, ConnectionError):
            return True


def _client(keys=None):
    """Return the TLS of a client that trusts anybody, with the keys of a folder or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if keys is not None:
        _, cert, key = (keys / f"{part}.pem" for part in PARTS)
        context.load_cert_chain(cert, key)
    return context
