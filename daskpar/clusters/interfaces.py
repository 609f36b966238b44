"""Which network interface a cluster listens on: the named one, the only one, or loopback."""

from __future__ import annotations

import psutil

from daskpar.errors import ProfileError

LOOPBACK = "127.0.0.1"


def interfaces() -> dict[str, bool]:
    """Return the interfaces of this host that are up and have an IPv4 address; true for loopback."""
    up = {name for name, stats in psutil.net_if_stats().items() if stats.isup}
    found = {}
    for name, addresses in psutil.net_if_addrs().items():
        ipv4 = [address.address for address in addresses if address.family.name == "AF_INET"]
        if name in up and ipv4:
            found[name] = all(address.startswith("127.") for address in ipv4)
    return found


def chosen_interface(named: str | None, key: str = "interface") -> str:
    """Return the interface to listen on.

    Parameters
    ----------
    named : str or None
        The profile's.
    key : str
        The profile's key, for the message.

    Raises
    ------
    daskpar.errors.ProfileError
        The named one is not up here; or none is named and several are up, of which the wrong one could be
        open to the world.
    """
    found = interfaces()
    if named is not None:
        if named not in found:
            raise ProfileError(
                f"there is no interface {named!r} that is up on this host",
                f"choose one of {', '.join(sorted(found))}",
                key=key,
            )
        return named
    outside = sorted(name for name, loopback in found.items() if not loopback)
    if len(outside) > 1:
        raise ProfileError(
            f"is not named, and several interfaces are up: {', '.join(outside)}",
            f"write {key}: with the one that the nodes see each other on",
            key=key,
        )
    return outside[0] if outside else next((name for name, loopback in found.items() if loopback), "lo")
