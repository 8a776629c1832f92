"""Who may test at a server that is joined to a collector: whoever brings a token that has not been used before.

Used tokens are remembered on disk until they expire, so that a restart does not admit one again.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from agent.common.errors import describe
from agent.common.keys import verifier
from agent.common.tcp.http_server import HttpRefused
from collector.speedtests.measure import token
from collector.speedtests.measure.token import Claims, TokenRefused

SPARE_LINES = 200  # after so many more, those that have expired are forgotten


class Admit(Protocol):
    """`check` says whether a test may begin, `use` that it does."""

    def check(self, test: str, token: str, address: str, now_ms: int) -> Claims | None:
        """What the token says; None for a test that may run but proves nothing. Raises HttpRefused."""
        ...

    def use(self, claims: Claims, now_ms: int) -> None:
        """Takes the token; it admits nobody again. Raises HttpRefused."""
        ...


class ByToken:
    """Admits by tokens for this `server` signed with `key`.

    The machine itself needs none: its tests try out the programs, prove nothing and are marked so.
    """

    def __init__(
        self, key: bytes, server: str, used: UsedTokens, count: Callable[[str], None] = lambda _reason: None
    ) -> None:
        self._key, self.server, self._used = verifier(key), server, used
        self._count = count

    def check(self, test: str, token_text: str, address: str, now_ms: int) -> Claims | None:
        if not token_text and ipaddress.ip_address(address.partition("%")[0]).is_loopback:
            return None
        try:
            claims = token.read(token_text, self._key, test=test, server=self.server, now_ms=now_ms)
            if claims.test in self._used:
                raise TokenRefused("used", f"the token of test {test!r} was used before: it admits one test")
        except TokenRefused as refused:
            self._count(refused.reason)
            raise HttpRefused(403, f"{refused.reason}: {refused}") from None
        return claims

    def use(self, claims: Claims, now_ms: int) -> None:
        try:
            self._used.add(claims.test, claims.expires_ms, now_ms)
        except OSError as error:
            self._count("not_kept")
            raise HttpRefused(
                503, f"not_kept: this server cannot note the use of a token ({describe(error)})"
            ) from None


class UsedTokens:
    """Test ids whose token was used, until it has expired. `path` None: known only while this process runs."""

    def __init__(self, path: Path | None, now_ms: int) -> None:
        self._path = path
        self._until: dict[str, int] = dict(_lines(path, now_ms)) if path else {}
        self._forget(now_ms)

    def __contains__(self, test: str) -> bool:
        return test in self._until

    def __len__(self) -> int:
        return len(self._until)

    def add(self, test: str, expires_ms: int, now_ms: int) -> None:
        """Returns when it is on the disk. Raises OSError: then nobody is admitted."""
        if self._path is not None:
            _append(self._path, f"\n{expires_ms} {test}\n")  # on a line of its own, even after one that was torn
        self._until[test] = expires_ms
        self._added += 1
        if self._added >= SPARE_LINES:
            self._forget(now_ms)

    def _forget(self, now_ms: int) -> None:
        self._until = {test: until for test, until in self._until.items() if until > now_ms}
        self._added = 0
        if self._path is not None:
            self._rewrite(self._path)

    def _rewrite(self, path: Path) -> None:
        draft = path.with_name(f"{path.name}.new")
        draft.unlink(missing_ok=True)
        _append(draft, "".join(f"{until} {test}\n" for test, until in self._until.items()))
        draft.replace(path)


def _append(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def _lines(path: Path, now_ms: int) -> list[tuple[str, int]]:
    """What a file holds that still counts; a last line that a power cut tore is left out. Raises OSError."""
    if not path.exists():
        return []
    tests = []
    for line in path.read_text("ascii", errors="replace").splitlines():
        until, _, test = line.partition(" ")
        if until.isdecimal() and len(until) < 16 and test and int(until) > now_ms:
            tests.append((test, int(until)))
    return tests
