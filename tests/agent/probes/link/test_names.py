"""What name servers answer, and how long people wait for a name. Pure."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from agent.probes.link.names import Lookup, judge_names, name_servers, outcome_of, query

QUERY = query(0x1234, "far.nabz.example")


def answer(flags: int, answers: int = 0, number: int = 0x1234) -> bytes:
    return struct.pack("!HHHHHH", number, flags, 1, answers, 0, 0) + QUERY[12:]


@pytest.mark.parametrize(
    ("data", "outcome"),
    [
        (answer(0x8180, 1), "resolved"),
        (answer(0x8180, 0), "no_such_name"),
        (answer(0x8183), "no_such_name"),
        (answer(0x8182), "failed"),
        (answer(0x8185), "failed"),
        (answer(0x8180, 1, number=1), None),  # another query's
        (answer(0x0100, 1), None),  # no answer at all
        (b"", None),
        (b"\x12\x34", None),
    ],
)
def test_an_answers_code_says_whether_a_name_resolves(data: bytes, outcome: str | None) -> None:
    assert outcome_of(QUERY, data) == outcome


def test_a_query_is_that_of_rfc_1035() -> None:
    assert QUERY == b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03far\x04nabz\x07example\x00\x00\x01\x00\x01"


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64])
def test_what_is_no_name_is_not_asked(name: str) -> None:
    with pytest.raises(ValueError, match=r"name|label"):
        query(1, name)


@pytest.mark.parametrize(
    ("text", "addresses", "wait_s"),
    [
        ("nameserver 192.0.2.1\nnameserver 2001:db8::1\n", ("192.0.2.1", "2001:db8::1"), 5.0),
        ("nameserver 1\nnameserver 2\nnameserver 3\nnameserver 4", ("1", "2", "3"), 5.0),
        ("options rotate timeout:2\nnameserver 192.0.2.1", ("192.0.2.1",), 2.0),
        ("options timeout:x timeout:9999 timeout:0", ("127.0.0.1",), 5.0),
        ("", ("127.0.0.1",), 5.0),
        ("nameserver\n#nameserver 1\n\x00", ("127.0.0.1",), 5.0),
    ],
)
def test_the_systems_name_servers(text: str, addresses: tuple[str, ...], wait_s: float) -> None:
    found = name_servers(text)
    assert (found.addresses, found.wait_s) == (addresses, wait_s)


def lookup(server: str, outcome: Any, took_ms: float = 20.0) -> Lookup:
    return Lookup(server=server, outcome=outcome, took_ms=took_ms)


def test_people_wait_for_a_silent_server_before_the_next_is_used() -> None:
    found = judge_names([lookup("a", "silent", 6000.0), lookup("b", "resolved")], 5.0, known=False)
    assert (found.ms, found.failed_pct, found.by, found.silent) == (5020.0, 0.0, "b", ("a",))
    # A refusal is followed at once.
    assert judge_names([lookup("a", "failed", 3.0), lookup("b", "resolved")], 5.0, known=False).ms == 23.0


def test_no_server_that_resolves_is_no_name() -> None:
    found = judge_names([lookup("a", "silent"), lookup("b", "no_such_name")], 5.0, known=False)
    assert (found.ms, found.failed_pct, found.silent) == (None, 100.0, ("a", "b"))


def test_a_name_of_a_hosts_file_need_not_be_known_to_the_server() -> None:
    assert judge_names([lookup("a", "no_such_name")], 5.0, known=True).failed_pct == 0.0
