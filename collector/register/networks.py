"""Whose network an address is in: from a database of AS numbers in the MaxMind DB format, if there is one.

Such files are free for this use from several publishers (GeoLite2 ASN, DB-IP ASN Lite, IPinfo Lite); none is shipped. A
file is read whole, so a newer one may be put in its place at any time: `refresh` looks for it.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import maxminddb

from agent.common.errors import describe
from agent.common.logs import Event

UNREADABLE = Event(
    __name__, "warning", "networks_unreadable", "the database of networks cannot be used; what was read of it before "
    "stays", key="file", fields="error",
)  # fmt: skip
OPENED = Event(__name__, "info", "networks_opened", "the database of networks is read", fields="file kind built_ms")

TEXT = 120
SAMPLE = 1000  # records of a file that are looked at to see whether it names networks
MAX_ASN = 2**32 - 1  # RFC 6793
MAX_FILE_BYTES = 512 * 1024 * 1024

Identity = tuple[int, int, int]  # of a file: another one has another inode, size or time


class NetworksError(ValueError):
    """A file that names no networks; one sentence with the file, the rule and the fix."""


@dataclass(frozen=True, slots=True)
class Network:
    """An autonomous system: its number, and its holder's name, empty where the file has none."""

    asn: int
    name: str = ""

    def __str__(self) -> str:
        return f"AS{self.asn} {self.name}".rstrip()


class Networks:
    """Lookups in one file. A file that is missing, harmed or of another kind is logged, and names nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: maxminddb.Reader | None = None
        self._identity: Identity | None = None

    def refresh(self) -> None:
        """Reads the file if it is another one than before; blocks while it does. Raises nothing."""
        identity = _identity(self._path)
        if identity is not None and identity == self._identity:
            return
        self._identity = identity
        try:
            self._reader = opened(self._path)
        except NetworksError as error:
            UNREADABLE.log(file=str(self._path), error=error)
            return
        facts = self._reader.metadata()
        OPENED.log(file=str(self._path), kind=facts.database_type, built_ms=facts.build_epoch * 1000)

    def of(self, address: str) -> Network | None:
        """The network that an address belongs to; None when that is not known. Raises nothing."""
        if self._reader is None:
            return None
        try:
            record = self._reader.get(_unmapped(address))
        except Exception as error:  # the library's reader meets harmed bytes only where a lookup leads to them
            UNREADABLE.log(file=str(self._path), error=error)
            return None
        return network_of(record)


def opened(path: Path) -> maxminddb.Reader:
    """A reader of a file that names networks, all in memory. Raises NetworksError."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise NetworksError(f"{path}: has over {MAX_FILE_BYTES >> 20} MiB; name a database of AS numbers")
        reader = maxminddb.open_database(path, maxminddb.MODE_MEMORY)
        kind = reader.metadata().database_type
        names = any(network_of(record) for _network, record in itertools.islice(reader, SAMPLE))
    except NetworksError:
        raise
    except OSError as error:
        raise NetworksError(f"{path}: cannot be read ({describe(error)}); name a file that may be read") from None
    except Exception as error:  # whatever the library makes of bytes that are no such file
        raise NetworksError(f"{path}: is no whole MaxMind DB file ({describe(error)}); fetch it again") from None
    if not names:
        raise NetworksError(f"{path}: is of the kind {kind[:TEXT]!r}, which names no AS; name a database of AS numbers")
    return reader


def network_of(record: object) -> Network | None:
    """From a record as GeoLite2 ASN and DB-IP have it (`autonomous_system_number`), or IPinfo (`asn`, "AS64500")."""
    if not isinstance(record, Mapping):
        return None
    number = _number(record.get("autonomous_system_number", record.get("asn")))
    name = record.get("autonomous_system_organization", record.get("as_name"))
    return None if number is None else Network(number, _plain(name) if isinstance(name, str) else "")


def _number(value: object) -> int | None:
    if isinstance(value, str):
        digits = value.removeprefix("AS")
        value = int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 10 else None
    return value if isinstance(value, int) and 0 < value <= MAX_ASN else None


def _plain(name: str) -> str:
    return "".join(sign for sign in " ".join(name.split()) if sign.isprintable())[:TEXT]


def _unmapped(address: str) -> str:
    """An IPv4 address that an IPv6 socket shows (RFC 4291 section 2.5.5.2) as itself."""
    ip = ipaddress.ip_address(address)
    mapped = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return str(mapped or ip)


def _identity(path: Path) -> Identity | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns
