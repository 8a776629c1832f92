"""Beacons of the second path: their text, when they go, and how they travel over real sockets."""

from __future__ import annotations

import asyncio
import threading
import urllib.parse
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import identity
from agent.beacons import text
from agent.beacons.sender import BeaconSender, is_due
from agent.config import SecondPathSection
from agent.uplink.trust import TrustedClock
from tests.helpers.waiting import until

KEY = Ed25519PrivateKey.generate()
DEVICE = identity.device_name(KEY.public_key().public_bytes_raw())
AT_S = 1_795_000_000


def test_a_beacon_is_read_from_whatever_stands_around_it_and_fits_a_text_message() -> None:
    made = text.make(DEVICE, AT_S, KEY.sign)
    assert len(made) == 121
    for wrapped in (made, f'{{"from": "+92300", "text": "{made}"}}', f"Fwd: {made}\r\n"):
        beacon = text.parse(wrapped)
        assert beacon is not None
        assert (beacon.device, beacon.at_s) == (DEVICE, AT_S)
        KEY.public_key().verify(beacon.signature, beacon.signed)
    assert text.parse(made[:-1]) is None
    assert text.parse(made + "A") is None
    assert text.parse("") is None


@pytest.mark.parametrize(
    ("silent_s", "since_sent_s", "due"),
    [(299, float("inf"), False), (300, float("inf"), True), (900, 3599, False), (900, 3600, True)],
)
def test_a_beacon_goes_after_minutes_without_a_receipt_and_seldom(
    silent_s: float, since_sent_s: float, due: bool
) -> None:
    assert is_due(SecondPathSection(enabled=True), silent_s, since_sent_s) is due


@pytest.fixture
def took() -> Iterator[tuple[str, list[str]]]:
    """A server that takes any request: (its URL, what came)."""
    came: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            came.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.answer()

        def do_GET(self) -> None:
            came.append(urllib.parse.unquote(self.path))
            self.answer()

        def answer(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", came
    server.shutdown()
    thread.join()
    server.server_close()


class SilentLine:
    def __init__(self, silent_s: float) -> None:
        self.silent_s, self.looks = silent_s, 0

    def since_receipt_s(self) -> float:
        self.looks += 1
        return self.silent_s


async def run(section: SecondPathSection, url: str, came: list[str], silent_s: float = 900.0) -> None:
    """Until a beacon came, or for the time of some looks where none may."""
    mine = identity.Identity(
        device=DEVICE, center="PB-1", name="", broker_host="", broker_port=1, collector_key=b"", measure_url="",
        enrolled_ms=1, url=url, key=KEY,
    )  # fmt: skip
    line = SilentLine(silent_s)
    sender = BeaconSender(section, mine, TrustedClock(), line, check_s=0.01)
    task = asyncio.create_task(sender.run())
    if section.enabled and silent_s >= 300:
        await until(lambda: bool(came))
    else:
        await until(lambda: line.looks > 3 or task.done())
    task.cancel()


def test_beacons_go_to_the_collector_or_a_gateway_of_text_messages(took: tuple[str, list[str]]) -> None:
    url, came = took
    asyncio.run(run(SecondPathSection(enabled=True, interface="lo"), url, came))
    assert text.parse(came.pop()) is not None
    assert not came, "one is enough for an hour"
    sms = SecondPathSection(enabled=True, url=f"{url}/send?to=%2B92300&text={{text}}")
    asyncio.run(run(sms, "", came))
    assert came[0].startswith("/send?to=+92300&text=NABZ1 ")


@pytest.mark.parametrize(("enabled", "silent_s"), [(False, 900.0), (True, 200.0)])
def test_no_beacon_goes_while_receipts_come_or_unless_it_is_wanted(
    took: tuple[str, list[str]], enabled: bool, silent_s: float
) -> None:
    url, came = took
    asyncio.run(run(SecondPathSection(enabled=enabled), url, came, silent_s))
    assert not came
