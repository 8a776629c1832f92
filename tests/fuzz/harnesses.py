"""One plain function for each way in: bytes that anybody may have written, and what must hold whatever they are.

A harness raises nothing for bytes that are refused by the error their module promises. Whatever else comes out of it is
a finding, and so is a value that was taken but cannot be what the module says: it would not travel, or is not in order.
"""

# ruff: noqa: PT017  what follows an error is judged where it comes out

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import config_file as agent_settings
from agent import wire
from agent.common import base64url, files
from agent.common.center_time import TZ
from agent.common.tcp.http_server import HttpRefused
from agent.config import AgentSettings
from agent.local import http, nut_server
from agent.probes.link import echo_cookie, names
from agent.probes.probe import ProbeFailed
from agent.probes.ups import draft, merge, nut, pdu, settle, snmp, traps
from agent.probes.ups.profiles import PROFILES
from agent.remote import settings as remote_settings
from agent.seat import snapshot
from collector import standard
from collector.access.acl import GATEWAY, Book
from collector.brokers.session_log import SessionLog
from collector.common import config as collector_settings
from collector.log import notes, tiles
from collector.register import centers, csv_file
from collector.register import opening_hours as opening
from collector.speedtests.measure import http as measure
from collector.speedtests.measure import record, token
from collector.verifier import archive
from tests.fuzz import people_harnesses
from tests.fuzz.shared import FOLDER, Harness, Mute, file_of, finished, heard, refused

T = TypeVar("T")
MOST_QUESTIONS = 200  # of an SNMP session that gets one answer to everything: more is a session without end
KEY = bytes(range(32))
SIGNER = Ed25519PrivateKey.from_private_bytes(KEY)
AT = wire.Stamp(wall_ms=1, mono_ms=1, boot="b", clock="synced")
MONDAY_MS = 1_790_000_000_000


# ---------------------------------------------------------------- the wire


def messages(data: bytes) -> None:
    decoders = (wire.decode_batch, wire.decode_receipt, wire.decode_ask, wire.decode_task, wire.decode_presence)
    for decode in decoders:
        message = refused(wire.WireError, decode, data)
        if message is not None:
            assert decode(wire.encode(message)) == message
    batch = refused(wire.WireError, wire.decode_frame, data)
    if batch is not None:
        assert len(batch.last_chain()) == 32
        for raw in batch.readings:
            reading(bytes(raw))
    reading(data)


def reading(data: bytes) -> None:
    found = refused(wire.WireError, wire.decode_reading, data)
    if found is not None and found.at is not None:
        assert wire.decode_reading(wire.encode_reading(found)) == found


def sealed(data: bytes) -> None:
    """As they come in: a topic on the first line, then the payload."""
    topic, _, payload = data.partition(b"\n")
    refused(wire.WireError, wire.device_of, topic.decode("utf-8", "replace"))
    opened = refused(wire.WireError, wire.unseal, payload)
    if opened is not None:
        assert len(opened[1]) == 64
        messages(opened[0])


def records(data: bytes) -> None:
    found = refused(wire.WireError, record.decode, data)
    if found is not None:
        assert record.decode(record.encode(found, None)) == found


def tokens(data: bytes) -> None:
    """Both as it comes, which no signature admits, and as the collector's own word, so that what is behind the
    signature is reached."""
    claimed = data.decode("utf-8", "replace")
    assert admitted(claimed) is None, "a token nobody signed"
    body, signature = base64url.encode(data), base64url.encode(SIGNER.sign(token.CONTEXT + data))
    claims = admitted(f"{body}.{signature}")
    assert claims is None or (claims.test, claims.server) == ("t1", "s1")


def admitted(text: str) -> token.Claims | None:
    try:
        return token.read(text, SIGNER.public_key(), test="t1", server="s1", now_ms=MONDAY_MS)
    except token.TokenRefused as error:
        assert error.reason in ("no_token", "other_server", "other_test", "expired", "bad_signature")
        return None


# ---------------------------------------------------------------- settings


def agent_config(data: bytes) -> None:
    try:
        agent_settings.load(file_of(data))
    except agent_settings.SettingsError as error:
        assert error.mistakes
        assert not [mistake for mistake in error.mistakes if "\n" in mistake], "a mistake over several lines"


def collector_config(data: bytes) -> None:
    where = file_of(data)
    try:
        collector_settings.load(where)
    except collector_settings.ConfigError as error:
        assert all(line.startswith(str(where)) for line in str(error).split("\n")), "a mistake over several lines"


def standards(data: bytes) -> None:
    try:
        standard.read(data, "it.toml")
    except standard.StandardError as error:
        assert error.mistakes
        assert not [mistake for mistake in error.mistakes if "\n" in mistake], "a mistake over several lines"


def opening_hours(data: bytes) -> None:
    """The hours, and on a second line the time zone."""
    text, _, zone = data.decode("utf-8", "replace").partition("\n")
    try:
        hours = opening.parse(text, zone or TZ)
        for day in hours.week:
            assert all(0 <= start < end <= opening.DAY_MINUTES for start, end in day)
            assert all(end <= start for (_, end), (start, _) in itertools.pairwise(day))
        after = opening.after_open(hours, MONDAY_MS, opening.MINUTE_MS)
        assert after is None or after > MONDAY_MS
        opening.is_open(hours, MONDAY_MS)
    except ValueError as error:
        assert str(error).startswith(("opening hours", "time zone")), f"a sentence of another's: {error!r}"


# ---------------------------------------------------------------- what a UPS says


def snmp_answers(data: bytes) -> None:
    for version in ("1", "2c"):
        decoded = refused(ValueError, lambda data: pdu.decode(version, data), data)  # noqa: B023  called at once
        if decoded is not None:
            _, answer = decoded
            numbers = [name for name, _ in answer.bindings] or ["1.3.6.1"]
            finished(session(answer).get(numbers))
            finished(session(answer).following([*numbers, *(profile.root for profile in PROFILES)]))
            settled(merge.gather(PROFILES, dict(answer.bindings), lambda _line: None))


def session(answer: snmp.SnmpResponse) -> snmp.SnmpSession:
    """Of a card that says the same to every question."""
    numbers = itertools.count()

    async def exchange(_command: snmp.Command, _oids: Sequence[str], _wait_s: float) -> snmp.SnmpResponse:
        assert next(numbers) < MOST_QUESTIONS, "a session without end"
        return answer

    return snmp.SnmpSession(exchange)


def snmp_traps(data: bytes) -> None:
    call = traps.heard(data)
    assert call is None or call.version in (0, 1, traps.V3)


def nut_lines(data: bytes) -> None:
    async def ask() -> None:
        upsd = nut.Upsd(nut.NutServer(host="h"), heard(data, nut.LINE_BYTES), cast(asyncio.StreamWriter, Mute()))
        await upsd.find()
        settled(nut.gather(await upsd.variables(), lambda _line: None))

    refused(ProbeFailed, lambda _: finished(ask()), data)


def settled(*looks: draft.Gathered) -> None:
    """Looks at one device, a minute apart: every reading travels, whatever was remembered before."""
    memory = draft.Memory()
    for number, look in enumerate(looks):
        reading, memory = settle.settle(look, memory, 60.0 * number, lambda _line: None)
        travels(reading)
    assert len(memory.scales) <= sum(len(look.candidates) for look in looks) * 8


def settling(data: bytes) -> None:
    """What `upsc` lists, look after look, parted by blank lines."""
    looks = []
    for listing in data.decode("utf-8", "replace").split("\n\n")[:8]:
        lines = (line.partition(":") for line in listing.splitlines())
        looks.append(nut.gather({name.strip(): value.strip() for name, _, value in lines}, lambda _line: None))
    settled(*looks)


def nut_requests(data: bytes) -> None:
    """A client of the gateway's own NUT server: every answer is whole lines of NUT, and nothing is ever done."""
    first_reading = wire.UpsReading(output_state="online", battery_charge_pct=97.0, model=data[:40].decode("latin-1"))
    states = [
        nut_server.UpsState(name=name, reading=first_reading, age_s=1.0) for name in ("ups", data[:9].decode("latin-1"))
    ]
    client = nut_server.NutClient(lambda: states)
    for line in data.split(b"\n")[:50]:
        answer = list(client.answer(line.decode("utf-8", "replace")))
        assert answer
        assert len(answer) < 60
        assert all(row.isprintable() and row for row in answer)
        assert nut.words_of(answer[0])[0] in NUT_ANSWERS or answer[0] == nut_server.PROTOCOL


NUT_ANSWERS = (
    "OK", "ERR", "VAR", "TYPE", "DESC", "UPSDESC", "NUMLOGINS", "BEGIN", "Commands:", "nabz-agent",
)  # fmt: skip


def travels(found: wire.UpsReading | None) -> None:
    if found is not None:
        raw = wire.encode_reading(msgspec.structs.replace(found, at=AT))
        assert wire.encode_reading(wire.decode_reading(raw)) == raw


# ---------------------------------------------------------------- HTTP and the LAN


def seats(data: bytes) -> None:
    found = refused(snapshot.SnapshotError, snapshot.decode, data)
    if found is not None:
        assert snapshot.decode(snapshot.encode(found)) == found
    answer = refused(snapshot.SnapshotError, snapshot.decode_answer, data)
    if answer is not None:
        assert snapshot.decode_answer(snapshot.encode_answer(answer)) == replace(answer, error=answer.error[:200])
    refused(snapshot.SnapshotError, lambda data: snapshot.unseal(data, KEY, snapshot.SNAPSHOT), data)
    assert snapshot.unseal(snapshot.seal(data, KEY, snapshot.SNAPSHOT), KEY, snapshot.SNAPSHOT) == data
    snapshot.claimed_id(data)


def agent_http(data: bytes) -> None:
    limits = http.HttpLimits()
    try:
        request = finished(http.read_request(heard(data, limits.head_bytes), "127.0.0.1", limits))
        assert len(request.body) <= limits.body_bytes
    except HttpRefused as error:
        answer = http.error(error.status, error.why)
        assert json.loads(answer.body)["error"]
        assert http.encode(answer).endswith(answer.body)
    except EOFError:  # what the listener answers with 400
        pass


def measure_http(data: bytes) -> None:
    try:
        request = measure.parse(data)
    except HttpRefused as error:
        assert measure.response_head(error.status, len(error.why), cors=True)
        return
    assert request.body_bytes is None or 0 <= request.body_bytes < 10**20
    assert len(request.query) <= 32


# ---------------------------------------------------------------- the line, and a register as people save it


def name_answers(data: bytes) -> None:
    """A name server's datagram, as it comes and with the number of the query."""
    message = names.query(0x1234, "collector.example")
    for answer in (data, message[:2] + data[2:]):
        outcome = names.outcome_of(message, answer)
        assert outcome in (None, "resolved", "no_such_name", "failed")
        assert outcome is None or answer[:2] == message[:2], "an answer to another's query"


def resolv_conf(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    found = names.name_servers(text)
    assert 1 <= len(found.addresses) <= names.MOST_SERVERS
    assert 0 < found.wait_s <= names.MOST_WAIT_S
    assert not [server for server in found.addresses if len(server.split()) != 1]


def echo_cookies(data: bytes) -> None:
    """What a measurement server, or somebody in its place, answers over HTTP."""
    head, _, body = data.partition(b"\r\n\r\n")
    found = echo_cookie.read_answer(head, body)
    cookie = found.cookie
    if found.answerer == "far_end":
        assert cookie is not None
    if cookie is not None:
        assert (len(cookie.value), 1 <= cookie.port <= 65535, 0 <= cookie.valid_s <= 86400) == (16, True, True)


def registers(data: bytes) -> None:
    """A file of centers; whatever is wrong with it has a line, a column and a rule."""
    text = refused(ValueError, files.decode, data)
    if text is None:
        return
    rows, mistakes = csv_file.read_rows(text.splitlines(keepends=True))
    for line, cells in rows[:50]:
        center, wrong = centers.parse_row(cells, line)
        mistakes += wrong
        if center is not None:
            assert centers.parse_row({"center": center.code}, line)[0] is None, "a center of nothing but a code"
            assert center.seats_promised >= 0
            center.hours  # noqa: B018  what was taken can be read
    assert not [mistake for mistake in mistakes if "\n" in str(mistake)], "a mistake over several lines"


def log_notes(data: bytes) -> None:
    """A signed head of the transparency log, and the path of a tile on its first line."""
    note = refused(notes.NoteError, notes.Note.parse, data)
    if note is not None:
        assert notes.Note.parse(str(note).encode()) == note
        checkpoint = refused(notes.NoteError, notes.Checkpoint.parse, note.text)
        if checkpoint is not None:
            assert notes.Checkpoint.parse(checkpoint.text) == checkpoint
    path = refused(tiles.TileError, tiles.TilePath.parse, data.partition(b"\n")[0].decode("utf-8", "replace"))
    if path is not None:
        assert 0 < path.width <= tiles.WIDTH


def log_tiles(data: bytes) -> None:
    entries = refused(tiles.TileError, tiles.unbundled, data)
    if entries is not None:
        assert tiles.bundle(entries) == data


def bundles(data: bytes) -> None:
    """A month's bundle as anybody may hand it to the verifier."""
    place = Path(FOLDER.name) / "bundle.zip"
    place.write_bytes(data)
    try:
        opened = refused(archive.BundleError, archive.Bundle, place)
    except OSError:  # promised, too: a file that cannot be read
        return
    if opened is None:
        return
    try:
        for name in opened.manifest["files"]:
            refused(archive.BundleError, lambda name=name: list(opened.rows(name)), None)
        opened.standards()
    finally:
        opened.close()


def settings_documents(data: bytes) -> None:
    """Settings of the collector, over those of a machine's own file."""
    try:
        document = msgspec.json.decode(data, type=wire.SettingsDocument)
    except wire.UNREADABLE:
        return
    found = refused(
        agent_settings.SettingsError, lambda values: remote_settings.merged(AgentSettings(), values), document.values
    )
    if found is not None:
        assert msgspec.convert(msgspec.to_builtins(found), AgentSettings) == found


def broker_lines(data: bytes) -> None:
    """Lines of Mosquitto's log, parts of which clients choose."""
    book = Book(lambda: 1.0)
    log = SessionLog(book)
    for line in data.decode("utf-8", "replace").splitlines():
        log.read(line)
    assert all(GATEWAY.fullmatch(name) for name, _ in book.sessions())


HARNESSES: dict[str, Harness] = {
    "log_notes": Harness(one=log_notes),
    "log_tiles": Harness(one=log_tiles),
    "bundles": Harness(one=bundles, quick=50),
    "settings_documents": Harness(one=settings_documents),
    "broker_lines": Harness(one=broker_lines),
    "messages": Harness(one=messages, seeds=("wire/v1/*.json",)),
    "sealed": Harness(one=sealed),
    "records": Harness(one=records),
    "tokens": Harness(one=tokens),
    "agent_config": Harness(one=agent_config, seeds=("agent/config/*.toml",)),
    "collector_config": Harness(one=collector_config),
    "standards": Harness(one=standards, seeds=("collector/standard/files/*.toml",)),
    "opening_hours": Harness(one=opening_hours),
    "snmp_answers": Harness(one=snmp_answers, quick=50),
    "snmp_traps": Harness(one=snmp_traps),
    "nut_lines": Harness(one=nut_lines),
    "nut_requests": Harness(one=nut_requests),
    "settling": Harness(one=settling, seeds=("agent/probes/ups/field/*.nut",)),
    "name_answers": Harness(one=name_answers),
    "resolv_conf": Harness(one=resolv_conf, quick=400),
    "echo_cookies": Harness(one=echo_cookies),
    "registers": Harness(one=registers, quick=300),
    "seats": Harness(one=seats),
    "agent_http": Harness(one=agent_http, quick=300),
    "measure_http": Harness(one=measure_http, quick=300),
    **people_harnesses.HARNESSES,
}
