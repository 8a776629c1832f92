"""Which key this seat uses: the center's at first, its own as soon as the gateway has agreed one with it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from agent.common.errors import describe
from agent.seat import keys

FILE = "own.key"


class Keyring:
    """`folder` is where the own key is kept; None, or one that cannot be written: the seat stays with the center's.

    Without `may_agree` no new key is agreed: a try by hand, as root, must not leave one that the service cannot read.
    """

    def __init__(self, center_key: bytes, seat_id: str, folder: Path | None = None, *, may_agree: bool = True) -> None:
        self.center_key, self.seat_id, self.may_agree = center_key, seat_id, may_agree
        self.file = folder / FILE if folder else None
        self.own = read(self.file, seat_id) if self.file else None
        self.secret: int | None = None

    @property
    def key(self) -> bytes:
        return self.own or self.center_key

    def hand(self, key: bytes) -> str:
        """Our half of the key agreement, sent under the center's key; empty under an own key."""
        if not self.may_agree or self.file is None or key != self.center_key:
            return ""
        self.secret = self.secret or keys.make_secret()
        return keys.half(self.secret)

    def take(self, hand: str) -> str:
        """The gateway's half. The key is used only once it is kept: a seat that forgot it would be refused.

        Returns why it cannot be kept, or nothing; then this seat goes on under the center's key."""
        if not hand or self.secret is None or self.file is None:
            return ""
        try:
            own = keys.agree(self.secret, hand, self.center_key, self.seat_id)
            keep(self.file, self.seat_id, own)
        except (OSError, ValueError) as error:
            self.file = None
            return describe(error)
        self.own, self.secret = own, None
        return ""


def read(file: Path, seat_id: str) -> bytes | None:
    """The own key, if one is kept for this very seat (a cloned disk carries another's)."""
    try:
        kept = json.loads(file.read_bytes())
        key = bytes.fromhex(kept["key"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # none yet, or spoilt: agreed anew
        return None
    return key if kept["id"] == seat_id and len(key) == 32 else None


def keep(file: Path, seat_id: str, key: bytes) -> None:
    """Whole or not at all, and for this account alone. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        json.dump({"id": seat_id, "key": key.hex()}, out)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)
