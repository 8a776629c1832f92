"""Keys and the identity file: private, durable, bound to each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent import identity
from agent.common.files import write_atomically


def enrolled(state: Path, **changes: object) -> identity.Enrolled:
    key = identity.make_key(state)
    facts: dict[str, object] = {
        "device": identity.device_name(key.public_key().public_bytes_raw()),
        "center": "PB-LHR-001",
        "name": "Lahore One",
        "collector_key": b"k" * 32,
        "broker_host": "127.0.0.1",
        "broker_port": 1883,
        "measure_url": "http://127.0.0.1:8480",
        "enrolled_ms": 1,
    }
    return identity.Enrolled(**(facts | changes))  # type: ignore[arg-type]


def test_what_is_saved_is_loaded_and_signs(tmp_path: Path) -> None:
    identity.save(tmp_path, enrolled(tmp_path))
    mine = identity.load(tmp_path)
    signature = mine.sign(b"body")
    public = mine.key.public_key().public_bytes_raw()
    assert identity.verify(public, b"body", signature)
    assert not identity.verify(public, b"bodY", signature)
    assert not identity.verify(b"short", b"body", signature)
    neutral = b"\x01" + bytes(31)  # a key of small order: this signature fits whatever is signed
    assert not identity.verify(neutral, b"body", neutral + bytes(32))
    assert not mine.is_collectors(b"body", signature)


def test_keys_are_readable_by_the_agent_alone(tmp_path: Path) -> None:
    state = tmp_path / "state"
    identity.save(state, enrolled(state))
    identity.seat_key(state)
    modes = {path.name: path.stat().st_mode & 0o777 for path in state.iterdir()}
    assert modes == {"signing.key": 0o600, "seat.key": 0o600, "identity.json": 0o600}
    assert state.stat().st_mode & 0o777 == 0o700


def test_no_key_is_shown_in_what_is_printed(tmp_path: Path) -> None:
    identity.save(tmp_path, enrolled(tmp_path))
    mine = identity.load(tmp_path)
    assert "key=" not in repr(mine).replace("collector_key=", "")


def test_a_gateway_not_enrolled_is_told_the_command(tmp_path: Path) -> None:
    with pytest.raises(identity.NotEnrolled, match="nabz-agent enrol URL"):
        identity.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"device": 1}'])
def test_a_damaged_identity_is_refused_with_the_fix(tmp_path: Path, content: bytes) -> None:
    identity.save(tmp_path, enrolled(tmp_path))
    (tmp_path / "identity.json").write_bytes(content)
    with pytest.raises(identity.IdentityError, match="--force"):
        identity.load(tmp_path)


def test_another_gateways_key_does_not_open_this_identity(tmp_path: Path) -> None:
    identity.save(tmp_path, enrolled(tmp_path))
    (tmp_path / "signing.key").write_bytes(bytes(range(32)))
    with pytest.raises(identity.IdentityError, match="not the one"):
        identity.load(tmp_path)


def test_a_lost_key_is_named(tmp_path: Path) -> None:
    identity.save(tmp_path, enrolled(tmp_path))
    (tmp_path / "signing.key").unlink()
    with pytest.raises(identity.IdentityError, match="missing"):
        identity.load(tmp_path)


def test_systemds_credentials_come_before_the_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "seat.key").write_bytes(b"c" * 32)
    own = identity.seat_key(tmp_path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert own != identity.seat_key(tmp_path) == b"c" * 32


def test_the_seat_key_is_made_once(tmp_path: Path) -> None:
    first = identity.seat_key(tmp_path / "state")
    assert len(first) == 32
    assert identity.seat_key(tmp_path / "state") == first


def test_an_atomic_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    (tmp_path / "file.new").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"


def test_one_state_folder_serves_one_process(tmp_path: Path) -> None:
    with identity.sole_user(tmp_path), pytest.raises(identity.StateBusy, match="stop it first"):
        identity.sole_user(tmp_path).__enter__()
    with identity.sole_user(tmp_path):
        pass
