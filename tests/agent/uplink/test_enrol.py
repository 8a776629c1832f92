"""Enrolment against a real HTTP server on this machine that answers as a collector, or as something else."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from agent import identity
from agent.__main__ import main
from agent.uplink import enrol
from tests.helpers.processes import token_words

COLLECTOR_KEY = bytes(range(32))


class Desk:
    """Answers each request by ``answer(request) -> (status, bytes)`` and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.answer: Callable[[dict[str, str]], tuple[int, bytes]] = welcome
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                desk.asked.append({"path": self.path, **request})
                status, body = desk.answer(request)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_line: object) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def welcome(request: dict[str, str], **changes: object) -> tuple[int, bytes]:
    answer: dict[str, object] = {
        "device": identity.device_name(base64.b64decode(request["public_key"])),
        "center": "PB-LHR-001",
        "name": "Lahore One",
        "collector_key": base64.b64encode(COLLECTOR_KEY).decode(),
        "broker": {"host": "broker.example", "port": 1883},
        "measure_url": "http://measure.example",
        "nonce": "n1",
    }
    return 200, json.dumps(answer | changes).encode()


@pytest.fixture
def desk() -> Iterator[Desk]:
    opened = Desk()
    yield opened
    opened.close()


def test_a_token_gives_an_identity_and_the_proof_is_right(tmp_path: Path, desk: Desk) -> None:
    mine = enrol.enrol(tmp_path / "state", desk.url, "token-1", 5)
    assert (mine.center, mine.broker_host, mine.broker_port, mine.nonce) == ("PB-LHR-001", "broker.example", 1883, "n1")
    assert mine.collector_key == COLLECTOR_KEY
    assert mine.enrolled_ms == 5
    (body_sent,) = desk.asked
    assert body_sent["path"] == "/api/v1/enrol"
    public, proof = base64.b64decode(body_sent["public_key"]), base64.b64decode(body_sent["proof"])
    assert identity.verify(public, f"nabz-enrol\ntoken-1\n{body_sent['csr']}".encode(), proof)
    assert identity.load(tmp_path / "state").device == mine.device


def test_an_answer_lost_on_the_way_is_asked_for_again_with_the_same_key(tmp_path: Path, desk: Desk) -> None:
    desk.answer = lambda request: (200, b"")
    with pytest.raises(enrol.EnrolFailed, match="not a collector's"):
        enrol.enrol(tmp_path, desk.url, "token-1", 5)
    desk.answer = welcome
    enrol.enrol(tmp_path, desk.url, "token-1", 6)
    assert desk.asked[0]["public_key"] == desk.asked[1]["public_key"]


def test_a_working_identity_is_not_overwritten(tmp_path: Path, desk: Desk) -> None:
    mine = enrol.enrol(tmp_path, desk.url, "token-1", 5)
    with pytest.raises(enrol.EnrolFailed, match="--force"):
        enrol.enrol(tmp_path, desk.url, "token-2", 6)
    assert len(desk.asked) == 1
    assert identity.load(tmp_path).device == mine.device


def test_force_makes_a_new_key_and_puts_the_old_one_and_its_readings_aside(tmp_path: Path, desk: Desk) -> None:
    mine = enrol.enrol(tmp_path, desk.url, "token-1", 5)
    (tmp_path / "spool.db").write_bytes(b"unsent")
    other = enrol.enrol(tmp_path, desk.url, "token-2", 6, force=True)
    assert other.device != mine.device
    assert (tmp_path / "spool.db.old-6").read_bytes() == b"unsent"
    assert (tmp_path / "signing.key.old-6").exists()
    assert not (tmp_path / "spool.db").exists()


def test_it_does_not_work_beside_a_running_agent(tmp_path: Path, desk: Desk) -> None:
    with identity.sole_user(tmp_path), pytest.raises(identity.StateBusy):
        enrol.enrol(tmp_path, desk.url, "token-1", 5)
    assert not desk.asked


def test_the_collectors_own_sentence_reaches_the_installer(tmp_path: Path, desk: Desk) -> None:
    desk.answer = lambda request: (403, b'{"error": "token: has expired; ask the desk\\u001b[2J"}')
    with pytest.raises(enrol.EnrolFailed, match=r"refused \(403\): token: has expired; ask the desk\?\[2J") as failed:
        enrol.enrol(tmp_path, desk.url, "token-1", 5)
    assert failed.value.code == ""  # as of a collector before 0.2


def test_the_collectors_code_comes_with_its_sentence(tmp_path: Path, desk: Desk) -> None:
    desk.answer = lambda request: (403, b'{"error": "whatever it says", "code": "token_expired", "more": [1]}')
    with pytest.raises(enrol.EnrolFailed, match="whatever it says") as failed:
        enrol.enrol(tmp_path, desk.url, "token-1", 5)
    assert failed.value.code == "token_expired"


def test_whether_to_wait_is_told_by_the_status_and_not_by_words(tmp_path: Path, desk: Desk) -> None:
    answers = iter([(202, {"waiting": ""}), (202, {"waiting": "two persons"}), (200, {"waiting": "never mind"})])

    def answer(request: dict[str, str]) -> tuple[int, bytes]:
        status, changes = next(answers)
        return status, welcome(request, **changes)[1]

    desk.answer = answer
    patient = enrol.ApprovalWait(sleep=lambda _s: None)
    assert enrol.enrol(tmp_path, desk.url, "token-1", 5, waiting=patient).center == "PB-LHR-001"
    assert len(desk.asked) == 3


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda request: (500, b"<html>oops"), "answered 500 and is not a collector's"),
        (lambda request: (200, b"<html>log in to the hotel wifi"), "not a collector's"),
        (lambda request: (200, b"x" * 100_000), "over 65536 bytes"),
        (lambda request: welcome(request, device="gffffffffffffffff"), "answered for"),
        (lambda request: welcome(request, collector_key="AAAA"), "not a sound Ed25519 key"),
        (lambda request: welcome(request, broker={"host": "h", "port": 0}), "port"),
    ],
)
def test_whatever_else_answers_is_refused_and_nothing_is_kept(tmp_path: Path, desk: Desk, answer, sentence) -> None:
    desk.answer = answer
    with pytest.raises(enrol.EnrolFailed, match=sentence):
        enrol.enrol(tmp_path, desk.url, "token-1", 5)
    with pytest.raises(identity.NotEnrolled):
        identity.load(tmp_path)


@pytest.mark.parametrize("url", ["", "ftp://x", "http://", "http://x:0", "http://x:port"])
def test_what_is_no_address_is_named(tmp_path: Path, url: str) -> None:
    with pytest.raises(enrol.EnrolFailed, match="is not the address of a collector"):
        enrol.enrol(tmp_path, url, "token", 5)


def test_the_command_says_what_it_did_and_what_is_next(tmp_path: Path, desk: Desk, capsys) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text(f'[agent]\nstate_dir = "{tmp_path}/state"\n')
    assert main(["enrol", desk.url, *token_words(tmp_path, "token-1"), "--config", str(settings)]) == 0
    assert "center PB-LHR-001 (Lahore One)" in capsys.readouterr().out
    assert main(["enrol", desk.url, *token_words(tmp_path, "token-1"), "--config", str(settings)]) == 1
    assert "enrolled already" in capsys.readouterr().err
    assert main(["seat-key", "--config", str(settings)]) == 0
    assert capsys.readouterr().out.strip() == identity.seat_key(tmp_path / "state").hex()
    settings.write_text("[agent]\nstate = 1\n")
    assert main(["enrol", desk.url, *token_words(tmp_path, "token-1"), "--config", str(settings)]) == 2
    assert "no such key; did you mean state_dir?" in capsys.readouterr().err


def test_a_token_on_the_command_line_is_refused_with_the_fix(desk: Desk, capsys) -> None:
    assert main(["enrol", desk.url, "token-1"]) == 2
    said = capsys.readouterr().err
    assert "does not belong on a command line" in said
    assert "--token-file" in said


def test_a_token_is_one_line_of_standard_input(tmp_path: Path, desk: Desk) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text(f'[agent]\nstate_dir = "{tmp_path}/state"\n')
    argv = [sys.executable, "-m", "agent", "enrol", desk.url, "--config", str(settings), "--json"]
    done = subprocess.run(argv, input="token-1\n", capture_output=True, text=True)
    assert json.loads(done.stdout)["center"] == "PB-LHR-001"


def test_nobody_there_is_one_clear_line(tmp_path: Path, free_port: int, capsys) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text(f'[agent]\nstate_dir = "{tmp_path}/state"\n')
    assert (
        main(["enrol", f"http://127.0.0.1:{free_port}", *token_words(tmp_path, "token-1"), "--config", str(settings)])
        == 1
    )
    assert "no answer (" in capsys.readouterr().err
