"""UPS cards for benches: net-snmp's own agent, filled with the objects of a device written for the tests."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

DEVICES = Path(__file__).parents[2] / "tests" / "agent" / "probes" / "ups" / "devices"
TYPES = {  # snmpsim's tags of the types of SMIv2, as snmpd.conf(5) names them; it has no null, which is left out
    "2": "integer", "4": "octet_str", "4x": "octet_str", "6": "object_id",
    "65": "counter", "66": "uinteger", "67": "timeticks",
}  # fmt: skip
OBJECT_ID = "1.3.6.1.2.1.1.2.0"  # sysObjectID of SNMPv2-MIB

Objects = Mapping[str, tuple[str, str]]  # OID -> (type tag, value)


def device(name: str) -> dict[str, tuple[str, str]]:
    """The objects of one hand-written device."""
    lines = (DEVICES / f"{name}.snmprec").read_text().splitlines()
    return {oid: (tag, value) for oid, tag, value in (line.split("|", 2) for line in lines)}


def settings(objects: Objects) -> str:
    """An snmpd.conf: anyone reads as ``public``, and writes as ``private``."""
    lines = [
        f"override -rw .{oid} {TYPES[tag]} {_value(tag, text)}" for oid, (tag, text) in objects.items() if tag in TYPES
    ]
    return "\n".join(["rocommunity public", "rwcommunity private", *lines, ""])


def _value(tag: str, text: str) -> str:
    if tag == "4x":
        return f"0x{text}"
    return '"{}"'.format(text.replace("\\0", "").replace('"', "")) if tag == "4" else text


@contextmanager
def card(objects: Objects, folder: Path, port: int, prefix: Sequence[str] = ()) -> Iterator[None]:
    """Answers on UDP 127.0.0.1:`port` for as long as the `with` lasts; `prefix` runs it elsewhere (a namespace)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "snmpd.conf").write_text(settings(objects))
    words = ["snmpd", "-f", "-C", "-c", str(folder / "snmpd.conf"), "-Ln", "-I", "-system_mib", f"udp:127.0.0.1:{port}"]
    with running([*prefix, *words], plain() | {"SNMP_PERSISTENT_DIR": str(folder / "snmp")}):
        yield


def plain() -> dict[str, str]:
    """Without MIB files: numbers alone, and a quicker start."""
    return os.environ | {"MIBS": "", "SNMPCONFPATH": "/nonexistent"}


@contextmanager
def running(words: Sequence[str], environment: Mapping[str, str], log: Path | None = None) -> Iterator[int]:
    """The process of this command, by its number, until the `with` ends."""
    with (log or Path(os.devnull)).open("ab") as out:
        process = subprocess.Popen(list(words), stdout=out, stderr=out, env=dict(environment))
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)
