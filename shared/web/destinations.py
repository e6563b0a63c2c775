"""Where webhooks may go: looked at when somebody subscribes, and again at the address that is really called."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import SplitResult, urlsplit

PORTS = frozenset({80, 443, 8443})
LONGEST = 2_000

Address = IPv4Address | IPv6Address


def reason_refused(url: str, *, private: bool) -> str | None:
    """Why this URL may not be subscribed with, in words that do not repeat it; None: it may. `private`: trials."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no URL"
    if len(url) > LONGEST or not parts.hostname or any(ord(c) <= 32 or ord(c) > 126 for c in url):
        return f"must be an absolute URL of at most {LONGEST} characters, in ASCII"
    if parts.username is not None or parts.password is not None or parts.fragment:
        return "must have neither user, password nor fragment"
    if parts.scheme not in ("https", "http"):
        return "must begin with https://"
    return None if private else _reason_not_public(parts, port)


def _reason_not_public(parts: SplitResult, port: int | None) -> str | None:
    if parts.scheme != "https":
        return "must begin with https://"
    if (port or 443) not in PORTS:
        return f"may name the ports {', '.join(map(str, sorted(PORTS)))} only"
    literal = _literal(parts.hostname or "")
    return "must not name a private address" if literal is not None and not is_public(literal) else None


def is_public(address: str | Address) -> bool:
    """No private, loopback, link-local, multicast or reserved address, nor one that carries such a one inside."""
    found = ip_address(address.partition("%")[0]) if isinstance(address, str) else address
    return all(_is_public(one) for one in (found, *_carried(found)))


def _is_public(address: Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def _carried(address: Address) -> Iterator[IPv4Address]:
    """IPv4 addresses that an IPv6 one leads to: mapped, 6to4, Teredo. NAT64 is reserved, so never public."""
    if isinstance(address, IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        return None
