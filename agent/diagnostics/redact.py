"""Takes secrets out of what leaves this gateway for a person: those that it knows, and whatever looks like one."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec

from agent.common import base64url
from agent.config import AgentSettings
from agent.identity import KEY_FILE, SEAT_KEY_FILE, TLS_KEY_FILE

GONE = "[removed]"
SHORTEST = 4  # shorter ones would take words out of sentences
PUBLIC = frozenset({"", "public"})
NAMED = re.compile(r"(?i)(?:pass(?:word|phrase|wd)?|secret|token|community|psk)$")
SHAPES = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),
    re.compile(r"(?i)(?<=bearer )\S+"),
    re.compile(
        r"(?i)((?:pass(?:word|phrase|wd)?|secret|token|community|api_?key|psk)[\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|\S+)"
    ),
)


def cleaned(content: object, known: Iterable[str]) -> object:
    """What is to become JSON, without secrets in its texts or under keys that are named after one."""
    if isinstance(content, str):
        return redacted(content, known)
    if isinstance(content, Mapping):
        return {
            key: GONE if NAMED.search(str(key)) and isinstance(value, str) and value else cleaned(value, known)
            for key, value in content.items()
        }
    if isinstance(content, list | tuple):
        return [cleaned(part, known) for part in content]
    return content


def redacted(text: str, known: Iterable[str]) -> str:
    """The text without these secrets, and without what is written as one."""
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, GONE)
    for shape in SHAPES[:-1]:
        text = shape.sub(GONE, text)
    return SHAPES[-1].sub(rf"\g<1>{GONE}", text)


def secrets_of(settings: AgentSettings) -> frozenset[str]:
    """All that this gateway keeps to itself, in every way of writing it."""
    secrets = set(_written(settings))
    for name in (KEY_FILE, SEAT_KEY_FILE, TLS_KEY_FILE):
        with suppress(OSError):
            secrets |= set(_forms((settings.state_dir / name).read_bytes()))
    return frozenset(secret for secret in secrets if len(secret) >= SHORTEST and secret not in PUBLIC)


def _written(settings: AgentSettings) -> Iterator[str]:
    """Of the settings: communities as they stand, and what lies in the files that are named."""
    for section in (settings.speed, *settings.ups):
        for field in msgspec.structs.fields(type(section)):
            value = getattr(section, field.name)
            if field.name.endswith("community"):
                yield str(value)
            elif field.name.endswith(("key_file", "password_file", "community_file")) and value:
                with suppress(OSError):
                    yield from _forms(Path(value).read_bytes())


def _forms(raw: bytes) -> Iterator[str]:
    with suppress(UnicodeDecodeError):
        yield raw.decode().strip()
    yield raw.hex()
    yield base64.b64encode(raw).decode()
    yield base64url.encode(raw)
