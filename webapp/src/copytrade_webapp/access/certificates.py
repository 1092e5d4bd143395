"""Client certificates as devices: the proxy has checked them, and says so in headers that count from it alone."""

from __future__ import annotations

import hashlib
import ipaddress
from urllib.parse import unquote

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from flask import Request

from ..settings import PanelSettings

LONGEST = 8192


def shown_certificate(request: Request, settings: PanelSettings) -> tuple[str, str] | None:
    """Return the SHA-256 of the certificate that the browser showed to the proxy, and the name in it; ``None``: none.

    A header from anybody but the proxy is nothing: with TLS_CLIENT_CA the panel must be bound where only the proxy
    reaches it, a Unix socket or this machine.
    """
    if settings.tls_client_ca is None or not is_from_proxy(request, settings):
        return None
    if request.headers.get("X-Client-Verify") != "SUCCESS":
        return None
    text = request.headers.get("X-Client-Cert", "")
    # Two in one header: a proxy that adds its own behind what a browser brought along.
    if not text or len(text) > LONGEST or text.count("BEGIN") != 1:
        return None
    try:
        certificate = x509.load_pem_x509_certificate(unquote(text).encode())
        names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        # It comes to be printed on a terminal.
        name = "".join(each for each in str(names[0].value if names else "")[:64] if each.isprintable()).strip()
    except ValueError:
        return None
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).hexdigest(), name or "certificate"


def is_from_proxy(request: Request, settings: PanelSettings) -> bool:
    """Whether the peer of this connection is the proxy in front: by its Unix socket, or from this machine."""
    # Of a Unix socket's peer there is no address.
    return settings.behind_proxy and (request.environ.get("REMOTE_ADDR") or "") in ("", "127.0.0.1", "::1")


def is_local(request: Request, settings: PanelSettings) -> bool:
    """Whether a call comes from this machine itself, and not through the proxy."""
    from_here = (request.environ.get("REMOTE_ADDR") or "") in ("", "127.0.0.1", "::1")
    return from_here and not (settings.behind_proxy and "X-Forwarded-For" in request.headers)


def address_of(request: Request, settings: PanelSettings) -> str:
    """Return the browser's address: what the proxy says of it, or the peer's own."""
    if is_from_proxy(request, settings) and (said := request.headers.get("X-Forwarded-For", "")):
        # The last one is the proxy's own word; whatever stands before it was brought along.
        return said.rpartition(",")[2].strip()[:45]
    return request.environ.get("REMOTE_ADDR") or "local"


def network_of(address: str) -> str:
    """Return by what tries are counted: an IPv6 customer has 2**64 addresses at least, and is counted as one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return address
    return str(found.ipv4_mapped or ipaddress.ip_network((int(found) >> 64 << 64, 64)))
