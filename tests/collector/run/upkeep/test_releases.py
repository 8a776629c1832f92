"""The rings of a release by the collector's own timer, over a real repository and a store."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from agent import wire
from agent.updates.offers import Ring
from collector.run.upkeep.releases import ReleaseRings
from collector.store import Store, schema
from tests.collector.remote.updates.signed_repository import SignedRepository, now_ms

DAY_MS = 86_400_000


@pytest.fixture
def ours(tmp_path: Path) -> SignedRepository:
    """With a release of two rings, none of them open yet; its online key is in a file."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "online.key").write_bytes(pem)
    made = SignedRepository(
        tmp_path / "repository", [CryptoSigner.generate_ed25519() for _ in range(2)], CryptoSigner(key)
    )
    made.tool.stage_root([one.public_key for one in made.signers], 2, made.online.public_key, now_ms())
    made.published()
    made.tool.stage_release("0.4.0", b"new", "0.2.0", [Ring(centers=["C-0"]), Ring(share=1.0)], now_ms())
    made.published()
    return made


def fleet_of_one(store: Store, failed: str | None, at_ms: int) -> None:
    """Its gateway runs the release, or has failed in it."""
    at = wire.Stamp(wall_ms=at_ms, mono_ms=at_ms, boot="b", clock="synced")
    reading = wire.GatewayReading(at=at, version="0.3.0" if failed else "0.4.0", failed_release=failed)
    with store.write() as conn:
        conn.execute(sa.insert(schema.devices).values(device="d", center="C-0", public_key=b"k" * 32, enrolled_ms=1))
        conn.execute(sa.insert(schema.pulse).values(center="C-0", device="d", heard_ms=at_ms, first_ms=1))
        conn.execute(
            sa.insert(schema.latest).values(
                center="C-0", kind="gateway", subject="", device="d", wall_ms=at_ms, received_ms=at_ms,
                body=wire.encode_reading(reading).decode(),
            )
        )  # fmt: skip


@pytest.mark.parametrize(("failed", "rings"), [(None, 2), ("0.4.0", 0)])
def test_the_next_ring_is_opened_or_the_release_is_held_by_the_hour(
    ours: SignedRepository, sqlite_store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture,
    failed: str | None, rings: int,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    clock = [now_ms()]
    timer = ReleaseRings(sqlite_store, ours.folder, tmp_path / "online.key", lambda: clock[0])
    timer.tick()
    assert ours.tool.paces()["0.4.0"].open == 1
    clock[0] += DAY_MS + 1000
    fleet_of_one(sqlite_store, failed, clock[0])
    timer.tick()
    timer.tick()
    assert ours.tool.paces()["0.4.0"].open == rings
    assert ("is held; only a person" in caplog.text) is (rings == 0)


def test_a_repository_that_cannot_be_written_is_an_error_in_the_log(
    ours: SignedRepository, sqlite_store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "online.key").write_text("no key")
    ReleaseRings(sqlite_store, ours.folder, tmp_path / "online.key", now_ms).tick()
    assert "no key can be read" in caplog.text
