"""A gateway with a certificate that sends updates of its TLS keys without end (RFC 8446, section 4.6.3), by libssl, as
Python's `ssl` has no word for them; and how long somebody else's publish waits meanwhile.

    python -m tests.faults.brokers.key_updates FOLDER SECONDS mosquitto|nats [bounded]    # by systemd/nabz-broker.nft
"""

from __future__ import annotations

import ctypes
import ctypes.util
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from collector.access.ca import Files
from tests.faults.hostile.test_mqtt_streams import A, B, acknowledged, packet, session, text
from tests.faults.makes import MAKES
from tests.helpers import ROOT
from tests.helpers.authority import TestAuthority

PEM = 1  # SSL_FILETYPE_PEM
RULES = ROOT / "systemd" / "nabz-broker.nft"


def flood(port: int, files: Files, ended: threading.Event) -> int:
    """How many updates were sent until then, or until nobody took them."""
    lib = ctypes.CDLL(ctypes.util.find_library("ssl"))
    for name in ("TLS_client_method", "SSL_CTX_new", "SSL_new"):
        getattr(lib, name).restype = ctypes.c_void_p
    context = ctypes.c_void_p(lib.SSL_CTX_new(ctypes.c_void_p(lib.TLS_client_method())))
    assert lib.SSL_CTX_use_certificate_chain_file(context, str(files.cert).encode()) == 1
    assert lib.SSL_CTX_use_PrivateKey_file(context, str(files.key).encode(), PEM) == 1
    hello, sent = packet(0x10, text(b"MQTT") + b"\x04\x02\x00\x3c" + text(A.encode())), 0
    with socket.create_connection(("127.0.0.1", port)) as line:
        line.settimeout(None)
        tls = ctypes.c_void_p(lib.SSL_new(context))
        assert (lib.SSL_set_fd(tls, line.fileno()), lib.SSL_connect(tls)) == (1, 1)
        assert lib.SSL_write(tls, hello, len(hello)) == len(hello)
        while not ended.is_set() and lib.SSL_key_update(tls, 0) == 1 and lib.SSL_do_handshake(tls) == 1:
            sent += 1
    return sent


def rules(port: int) -> str:
    """With our port, and without the exception of this machine, which plays the gateways."""
    text = RULES.read_text()
    for line, ours in (
        ("define ports = { 8883 }", f"define ports = {{ {port} }}"),
        ("define collectors = { 127.0.0.0/8 }", "define collectors = { 192.0.2.1 }"),
    ):
        assert line in text
        text = text.replace(line, ours)
    return text


def longest_wait_s(folder: Path, for_s: float, make: str, *, is_bounded: bool) -> dict[str, float]:
    authority = TestAuthority(folder / "authority")
    ended, sent = threading.Event(), list[int]()
    with MAKES[make](folder / "broker", authority, gateways=[A, B]) as broker:
        if is_bounded:
            subprocess.run(["nft", "-f", "-"], input=rules(broker.tls), text=True, check=True)
        mine = authority.client(A)
        with session(broker.tls, authority.client(B), B) as honest:
            attack = threading.Thread(target=lambda: sent.append(flood(broker.tls, mine, ended)))
            attack.start()
            from_s, waits = time.monotonic(), list[float]()
            while time.monotonic() - from_s < for_s:
                asked_s = time.monotonic()
                assert acknowledged(honest, len(waits) % 60_000 + 1)
                waits.append(time.monotonic() - asked_s)
                time.sleep(0.02)
            ended.set()
        attack.join(60)
    return {"longest_wait_s": max(waits), "publishes": len(waits), "updates": sum(sent)}


if __name__ == "__main__":
    place, seconds, kind, *bounds = sys.argv[1:]
    print(json.dumps(longest_wait_s(Path(place), float(seconds), kind, is_bounded=bounds == ["bounded"])))
