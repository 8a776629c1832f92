"""The wire's pages, made from its types and its golden messages: `wire.md` for people, `asyncapi.yaml` for tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from agent import wire
from collector.ingest.backpressure import FLOOD, MANY_WAITING

GOLDEN = Path(__file__).parents[1] / "tests" / "wire" / "v1"
Schema = dict[str, Any]

MESSAGES: dict[str, type] = {
    "batch": wire.Batch,
    "receipt": wire.Receipt,
    "ask": wire.Ask,
    "task": wire.Task,
    "presence": wire.Presence,
}
CHANNELS = {
    "batch": ("up", "send", "A gateway sends the oldest readings it still keeps; new ones go before a backlog."),
    "receipt": ("receipt", "receive", "The collector says that it holds them; only then may the gateway forget."),
    "ask": ("ask", "send", "A gateway wants a turn at a measurement server; the answer is a task of the same id."),
    "task": ("task", "receive", "The collector asks for one thing, once, before it expires."),
    "presence": ("presence", "send", "Retained, and the MQTT last will: a hint to look sooner, never evidence."),
}
INTRODUCTION = f"""# The wire, version {wire.VERSION}

Everything an outsider needs to write a gateway that this collector accepts, or a collector that these gateways accept.
Made from `agent/wire.py` and the golden messages by `make docs`; `asyncapi.yaml` beside it says the same for tools.

## Transport
MQTT 3.1.1 or 5, QoS 1, any broker. A PUBACK means nothing here: the broker is a lossy wire, and a gateway forgets a
reading only on the collector's receipt.

## A gateway's identity
An Ed25519 key (RFC 8032) made on the gateway. Its name, `DEVICE` below, is `g` and the first 16 hex digits of the
SHA-256 of its 32 public bytes. It joins a center once, with a one-time token from the desk:
`POST /api/v1/enrol` with JSON `token`, `public_key` (base64), `csr` (PEM; for a certificate), `proof` (base64 of the
signature over `nabz-enrol`, token, csr, joined by line feeds), `hostname`, `version`. The answer holds `device`,
`center`, `name`, `collector_key` (base64; its receipts and tasks are signed with it), `broker` (`host`, `port`),
`measure_url`, `nonce`, and for a csr `certificate`, `ca`, `brokers`, `at_ms`; `waiting` with status 202; or, with a
status of 4xx, `error`: one sentence. Renewal and the rest: [developer/identity.md](developer/identity.md).

## Sealing
A batch, a receipt, an ask and a task travel as

    body LF base64(Ed25519 signature over exactly the body's bytes)

with standard base64 and no line feed after it. The body is UTF-8 JSON. There is no canonical form: whoever checks,
checks the bytes that came. The body is what stands before the *last* line feed. Presence is bare JSON without a seal.

## Packing
A collector whose receipts say `packing` 1 reads batches in a shorter form, too: the byte 1, the 64 bytes of the
signature, and the body as raw DEFLATE (RFC 1951) with the preset dictionary `WORDS` of `agent/pack.py`. Signed is the
body itself, so nothing else changes. More than the limit of a body is never unpacked. A gateway may pack from the first
such receipt of a session on; it sends a batch as it is when the one before got no receipt in time, as another collector
may stand there by now. `tests/wire/v1/batch.packed` is `batch.sealed` in this form.

## Limits
Before anything is decoded: {wire.MAX_BATCH_BYTES} bytes for a batch's body, {wire.MAX_ASK_BYTES} for
an ask's, {wire.MAX_SMALL_BYTES} for the others.
At most {wire.MAX_BATCH_READINGS} readings a batch. What is longer, malformed or of another version is set aside with
the reason; the receipt's `outcome` says so. Unknown fields are ignored, so that later minor versions may add some; a
changed meaning gets a new version and new topics.

A gateway has a few batches without a receipt, never {MANY_WAITING}: what more of it waits at the collector is dropped
and to be sent again. One of which {FLOOD} are dropped within a minute is shut out for ten.

## The chain
Each reading is bound to all before it of the same spool:

    chain(0) = 32 zero bytes            chain(n) = SHA-256(chain(n-1) + the bytes of reading n)

The bytes of a reading are those of its JSON inside the batch, from `{{` to `}}`. `prev` of a batch is the chain
before its first reading (64 hex digits); `chain` of a receipt the one after its last. So a batch may be cut anywhere,
and sent again cut elsewhere, and still be held against its neighbours. A gateway forgets only when the receipt's chain
is its own.

## Sequence, spool, time
A reading's identity is (`device`, `spool`, sequence number). `spool` is 32 hex digits made at random when the
spool file is created; sequence numbers begin at 1 in each spool and have no holes. Sending a reading again changes
nothing; other bytes under the same identity are recorded as a finding against the gateway.
Times are milliseconds since 1970 UTC. Every reading carries its stamp (`at`): the wall clock as the gateway had it,
the time since boot, the boot's name, and whether the clock was synchronised. Wrong wall clocks are put right later
from these; what was sent stays as it was. `nonce` repeats the newest one seen in a receipt or task, which proves that
the batch was made after it.

## What is never on this wire
Nothing about what people do: no names, no screens, no keystrokes, no files, no addresses visited, no contents. Seats
are counted by machine, not by person.
"""


def wire_page() -> str:
    components = _components()
    return "\n".join([INTRODUCTION, *_topics(), *_messages(components), *_readings(components), *_sealed()])


def asyncapi() -> str:
    """AsyncAPI 3.0; the payload of a sealed channel is the body, the seal is described."""
    document = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Nabz wire",
            "version": f"{wire.VERSION}.0.0",
            "description": "Between e-Rozgar centers' gateways and the collector; wire.md tells of seal and chain.",
        },
        "defaultContentType": "application/json",
        "channels": {name: _channel(name) for name in CHANNELS},
        "operations": {
            f"{action}{name.capitalize()}": {
                "action": action,
                "channel": {"$ref": f"#/channels/{name}"},
                "summary": summary,
            }
            for name, (_, action, summary) in CHANNELS.items()
        },
        "components": {"messages": {name: _message(name) for name in MESSAGES}, "schemas": _components()},
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def _channel(name: str) -> Schema:
    word, _, summary = CHANNELS[name]
    return {
        "address": f"{wire.ROOT}/{word}/{{device}}",
        "description": summary,
        "parameters": {"device": {"description": "`g` and 16 hex digits, from the gateway's public key"}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"}},
        "bindings": {"mqtt": {"qos": 1, "retain": name == "presence", "bindingVersion": "0.2.0"}},
    }


def _message(name: str) -> Schema:
    sealed = "" if name == "presence" else " Sealed: body, line feed, base64 of its Ed25519 signature."
    return {
        "title": MESSAGES[name].__name__,
        "description": _prose(MESSAGES[name]) + sealed,
        "payload": {"$ref": f"#/components/schemas/{MESSAGES[name].__name__}"},
        "examples": [{"name": path.stem, "payload": json.loads(path.read_text())} for path in _goldens(name)],
    }


def _components() -> dict[str, Schema]:
    """JSON Schemas of every type, with a batch's readings spelt out (they stay undecoded in the code)."""
    types = [*(kind.struct for kind in wire.KINDS.values()), *MESSAGES.values()]
    _, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    kinds = [{"$ref": f"#/components/schemas/{kind.struct.__name__}"} for kind in wire.KINDS.values()]
    components["Batch"]["properties"]["readings"]["items"] = {"oneOf": kinds}
    for schema in components.values():
        schema["description"] = " ".join(str(schema.get("description", "")).replace("``", "`").split())
    return dict(components)


def _prose(struct: type) -> str:
    return " ".join((struct.__doc__ or "").replace("``", "`").split())


def _goldens(name: str) -> list[Path]:
    return sorted(path for path in GOLDEN.glob(f"{name}*.json") if path.stem.partition("-")[0] == name)


def _topics() -> Iterator[str]:
    yield "## Topics\n\n| topic | from | message |\n|---|---|---|"
    for name, (word, action, summary) in CHANNELS.items():
        sender = "gateway" if action == "send" else "collector"
        yield f"| `{wire.ROOT}/{word}/DEVICE` | {sender} | [{name}](#{name}): {summary} |"
    yield ""


def _messages(components: dict[str, Schema]) -> Iterator[str]:
    yield "## Messages\n"
    for name, struct in MESSAGES.items():
        yield from _section(name, struct, components)


def _readings(components: dict[str, Schema]) -> Iterator[str]:
    yield "## Readings\n"
    yield "Every kind carries `kind`, `at` (its stamp, always there on the wire), `subject` and, when the measurement"
    yield "failed, `failure` and no values. An unknown value is absent or `null`, never zero. Mbit/s are 10⁶ bits a"
    yield "second, MB 2²⁰ bytes.\n"
    for name, kind in wire.KINDS.items():
        yield from _section(name, kind.struct, components)
    yield "## Parts\n"
    for name in ("Stamp", "Failure", "Hop", "SeatColumns"):
        yield f"### {name}\n\n{components[name]['description']}\n"
        yield from _table(components[name])


def _section(name: str, struct: type, components: dict[str, Schema]) -> Iterator[str]:
    yield f"### {name}\n\n{components[struct.__name__]['description']}\n"
    yield from _table(components[struct.__name__])
    for path in _goldens(name):
        yield f"Golden message `tests/wire/v1/{path.name}`, byte by byte:\n\n    {path.read_text()}\n"


def _table(schema: Schema) -> Iterator[str]:
    common = {"at", "subject", "failure"} if "kind" in schema["properties"] else set()
    yield "| field | is | unit | absent means |\n|---|---|---|---|"
    for name, field in schema["properties"].items():
        if name not in common:
            required = name in schema.get("required", ())
            absent = "not allowed" if required else f"`{json.dumps(field.get('default'))}`"
            yield f"| `{name}` | {_is(field)} | {_unit(name)} | {absent} |"
    yield ""


def _unit(name: str) -> str:
    return wire.unit_of(name)


def _is(field: Schema) -> str:
    """A schema in a few words."""
    if "$ref" in field:
        return f"[{(part := field['$ref'].rpartition('/')[2])}](#{part.lower()})"
    if "anyOf" in field:
        return " or ".join("null" if each == {"type": "null"} else _is(each) for each in field["anyOf"])
    if "oneOf" in field:
        return "a reading of any kind"
    if "enum" in field:
        return ", ".join(f"`{word}`" for word in field["enum"])
    if "prefixItems" in field:
        return f"[{', '.join(map(_is, field['prefixItems']))}]"
    if field["type"] == "array":
        least, most = field.get("minItems", 0), field.get("maxItems")
        return f"list{f' of {least} to {most}' if most else ''}: {_is(field['items'])}"
    if "additionalProperties" in field:
        return f"object of at most {field['maxProperties']}, by name: {_is(field['additionalProperties'])}"
    return _scalar(field)


def _scalar(field: Schema) -> str:
    if field["type"] == "string":
        least, most = field.get("minLength", 0), field.get("maxLength")
        return f"text, {least} to {most} characters" if most else "text"
    if field["type"] in ("integer", "number") and "minimum" in field:
        least, most = field["minimum"], field["maximum"]
        return f"{field['type']}, {least:.15g} to {'2⁵³' if most == 2**53 else f'{most:.15g}'}"
    return str(field["type"])


def _sealed() -> Iterator[str]:
    key = json.loads((GOLDEN / "key.json").read_text())
    yield "## Sealed bytes to test against\n"
    yield f"Signed with the test key whose private bytes are `{key['private']}`"
    yield f"(public `{key['public']}`, so the device is `{key['device']}`).\n"
    for name in ("batch", "receipt"):
        yield f"`tests/wire/v1/{name}.sealed`:\n"
        yield from ("    " + line for line in (GOLDEN / f"{name}.sealed").read_text().splitlines())
        yield ""
