"""A gateway from a prepared folder to its replacement, with the real agent at a real collector; what its page says."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent import identity
from agent.__main__ import main as agent
from collector.__main__ import main as collector
from collector.access import enrolment
from collector.register import centers
from collector.remote.prepared import PreparedGateway, next_centers, sheet
from collector.store import Store, schema
from collector.web.interfaces.install import SHOWN_MS, installation
from tests.collector.access.test_enrolment import NOW, ROW, ask, request
from tests.collector.empty_stores import empty_store
from tests.helpers.collector_side import House


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = empty_store(tmp_path / "nabz.db")
    with made.write() as conn:
        for code in ("LHR-1", "LHR-2", "LHR-3"):
            centers.add(conn, {"center": code, **ROW}, NOW)
    return made


def join(store: Store, center: str = "LHR-1", now_ms: int = NOW, *, replaces: bool = False) -> tuple[str, str]:
    """(device, name of its page)."""
    with store.write() as conn:
        token = enrolment.issue_token(conn, center, now_ms, 3600, "Ali", replaces=replaces)
    device = str(ask(store, request(Ed25519PrivateKey.generate(), token), now_ms)["device"])
    return device, enrolment.page_name(token)


def trusted(store: Store) -> list[str]:
    d = schema.devices.c
    with store.read() as conn:
        return list(conn.scalars(sa.select(d.device).where(d.revoked_ms.is_(None))))


def test_a_gateway_that_replaces_closes_the_old_key_and_no_other(store: Store) -> None:
    old, _ = join(store)
    elsewhere, _ = join(store, "LHR-2")
    beside, _ = join(store, now_ms=NOW + 1)
    assert sorted(trusted(store)) == sorted([old, elsewhere, beside]), "a token by itself closes nothing"
    new, _ = join(store, now_ms=NOW + 2, replaces=True)
    assert sorted(trusted(store)) == sorted([elsewhere, new])
    with store.read() as conn:
        rows = conn.execute(sa.select(schema.revocations)).all()
        assert {(row.device, row.revoked_by, row.reason) for row in rows} == {
            (device, "Ali", f"replaced by {new}") for device in (old, beside)
        }
        assert conn.scalar(sa.select(sa.func.count()).select_from(schema.centers)) == 3


def test_the_page_of_a_token_says_how_far_its_gateway_is(store: Store) -> None:
    def state(name: str, now_ms: int = NOW) -> str:
        with store.read() as conn:
            return installation(conn, name, now_ms).state

    with store.write() as conn:
        token = enrolment.issue_token(conn, "LHR-1", NOW, 3600, "Ali")
    name = enrolment.page_name(token)
    assert token not in name
    assert [state(name), state(name, NOW + 3600_000)] == ["waiting", "expired"]
    assert state(name, NOW + 3600_000 + SHOWN_MS + 1) == "unknown"
    assert [state("0" * 64), state(""), state(token)] == ["unknown"] * 3
    device = str(ask(store, request(Ed25519PrivateKey.generate(), token))["device"])
    assert state(name) == "joined"
    with store.write() as conn:
        row = {"center": "LHR-1", "device": device, "kind": "link", "subject": "wan", "body": "{}"}
        conn.execute(sa.insert(schema.latest).values(row | {"wall_ms": NOW, "received_ms": NOW + 5}))
    assert state(name) == "done"


def test_one_that_waits_for_a_second_person_says_so(store: Store) -> None:
    with store.write() as conn:
        token = enrolment.issue_token(conn, "LHR-1", NOW, 3600, "Ali")
        conn.execute(sa.update(schema.tokens).values(used_ms=NOW, device="g" + "0" * 16))
        assert installation(conn, enrolment.page_name(token), NOW).state == "approval"
        conn.execute(sa.update(schema.enrolments).values(state="refused"))
        assert installation(conn, enrolment.page_name(token), NOW).state == "refused"


def test_a_batch_is_of_centers_that_nobody_is_on_the_way_to(store: Store) -> None:
    join(store, "LHR-2")
    with store.write() as conn:
        assert next_centers(conn, 5, None, NOW) == ["LHR-1", "LHR-3"]
        enrolment.issue_token(conn, "LHR-1", NOW, 3600, "Ali")
        assert next_centers(conn, 5, None, NOW + 1) == ["LHR-3"]
        assert next_centers(conn, 5, None, NOW + 3600_001) == ["LHR-1", "LHR-3"]
        assert next_centers(conn, 1, "Nowhere", NOW) == []


def test_a_sheet_shows_no_token_and_no_foreign_markup() -> None:
    text = sheet(
        PreparedGateway(
            center="X-1", name="<script>", url="https://c", token="secret", page="https://c/i/1", needs_approval=True
        )
    )
    assert "secret" not in text
    assert "<script>" not in text
    assert text.count("<li>") == 8
    assert "Support desk" not in text
    assert 'lang="ur" dir="rtl"' in text


def test_a_sheet_says_whom_to_call() -> None:
    facts = {"center": "X-1", "name": "X", "url": "https://c", "token": "secret", "page": "https://c/i/1"}
    text = sheet(PreparedGateway(**facts, needs_approval=False, desk_telephone="+92511234567"))
    assert text.count("<bdi>+92511234567</bdi>") == 2


@pytest.mark.parametrize(
    ("web", "is_told"),
    [
        ('listen = "127.0.0.1:8480"', True),
        ('listen = "0.0.0.0:8480"\nproxy = ["192.0.2.5"]', True),
        ('listen = "127.0.0.1:8480"\npublic_url = "https://nabz.example"', False),
    ],
)
def test_sheets_that_send_telephones_nowhere_are_told_of(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str], web: str, is_told: bool
) -> None:
    (tmp_path / "c.toml").write_text(f"[web]\n{web}\n")
    words = ["gateway", "prepare", "--batch", "1", "--out", str(tmp_path / "out"), "--by", "Ali"]
    assert collector([*words, "--data", str(tmp_path), "--config", str(tmp_path / "c.toml")]) == 0
    assert ("set [web] public_url" in capsys.readouterr().err) is is_told


def test_by_command_a_folder_for_each_center(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["gateway", "prepare", "--batch", "2", "--out", str(tmp_path / "out"), "--by", "Ali", "--json"]
    assert collector([*words, "--data", str(tmp_path)]) == 0
    made = json.loads(capsys.readouterr().out)
    assert [one["center"] for one in made] == ["LHR-1", "LHR-2"]
    file = tmp_path / "out" / "LHR-1" / "join.json"
    assert file.stat().st_mode & 0o777 == 0o600
    token = json.loads(file.read_text())["token"]
    assert made[0]["page"].endswith("/i/" + enrolment.page_name(token))
    assert (tmp_path / "out" / "LHR-2" / "sheet.html").exists()
    words = ["gateway", "prepare", "--center", "NONE", "--out", str(tmp_path / "out"), "--data", str(tmp_path)]
    assert collector(words) == 1
    assert not (tmp_path / "out" / "NONE").exists()


def test_the_agent_joins_by_its_folder_alone_and_its_page_knows(tmp_path: Path) -> None:
    with ExitStack() as stack:
        house = House(tmp_path / "house", stack)
        token = house.token()
        (tmp_path / "join.json").write_text(json.dumps({"url": house.url, "token": token, "center": "LHR-1"}))
        settings = tmp_path / "agent.toml"
        settings.write_text(f'[agent]\nstate_dir = "{tmp_path}/state"\n')
        page = enrolment.page_name(token)
        assert agent(["enrol", "--prepared", str(tmp_path / "join.json"), "--config", str(settings)]) == 0
        assert identity.load(tmp_path / "state").center == "LHR-1"
        with house.store.read() as conn:
            assert installation(conn, page, house.now_ms()).state == "joined"


@pytest.mark.parametrize("text", ["", "[]", '{"url": "x"}', '{"url": 1, "token": "x"}', "[" * 9999])
def test_a_prepared_file_that_is_none_is_named(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "join.json").write_text(text)
    assert agent(["enrol", "--prepared", str(tmp_path / "join.json")]) == 2
    assert "give a join.json" in capsys.readouterr().err
    assert agent(["enrol"]) == 2
    assert "URL: is missing" in capsys.readouterr().err
