"""The operator's home: the answer, what to fix first with whom to call, what spoils the month."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from collector.access.accounts import contacts
from collector.access.accounts.policy import Account
from collector.common.scope import Scope
from collector.store import schema
from collector.web.fleet.mine import month_of
from collector.web.site import ZONE

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def site(served, cast) -> Any:
    """Two centers of one owner, one below and of a hostile name, one that meets; and one of another's."""
    names = {"LHE-0001": HOSTILE, "LHE-0002": "Lahore Two", "LHE-0003": "Lahore Three"}
    rows = [cast.center_row(code, 0, name=name, owner="Own Trust", isp="PTCL") for code, name in names.items()]
    rows[2]["owner"] = "Other Trust"
    cast.insert(served.store, schema.centers, rows)
    cast.insert(served.store, schema.pulse, [cast.pulse_row(code) for code in names])
    flags = [cast.flag_row(code, criterion) for code in names for criterion in cast.CRITERIA]
    for flag in flags:
        if flag["center"] == "LHE-0001":
            flag |= cast.troubles(2, cast.NOW_MS, 1).get(flag["criterion"], {})
    cast.insert(served.store, schema.flags, flags)
    with served.store.write() as conn:
        whom = contacts.parse({"kind": "provider", "name": "PTCL", "telephone": "+92 21 1234567"}, Scope())
        contacts.keep(conn, whom, Account("Amna", "admin", key="amna"), cast.NOW_MS)
    return served


@contextmanager
def operator(site, cast, **scope: str) -> Iterator[httpx.Client]:
    own = Scope(**{name: frozenset({value}) for name, value in scope.items()})
    cookie = cast.add_account(site.store, "Omar", "operator", own)
    with site.client(logged_in=False) as client:
        client.cookies.set("nabz_session", cookie)
        yield client


def test_the_worst_center_comes_first_with_what_to_fix_and_whom_to_call(site, cast) -> None:
    with operator(site, cast, owner="Own Trust") as client:
        page = client.get("/mine?lang=en").text
        other = client.get("/mine?center=LHE-0002").text
        strange = client.get("/mine?center=LHE-0003").text
    assert HOSTILE not in page
    assert page.index("Battery") < page.index("Download speed")  # the more severe first
    assert 'href="tel:+92211234567"' in page
    assert ">No</" in page or "No</span>" in page
    assert "Nothing has to be fixed." in other
    assert "Lahore Three" not in strange, "another owner's center"


def test_it_speaks_urdu_until_somebody_chooses(site, cast) -> None:
    with operator(site, cast, owner="Own Trust") as client:
        assert 'lang="ur"' in client.get("/mine", headers={"accept-language": "en"}).text.partition("<head>")[0]
        client.get("/mine?lang=en")
        assert 'lang="en"' in client.get("/mine").text.partition("<head>")[0]


def test_an_operator_without_centers_is_told_so_and_others_have_no_such_page(site, cast) -> None:
    with operator(site, cast, owner="Nobody") as client:
        assert "No center is yours yet" in client.get("/mine?lang=en").text
    with site.client() as client:
        assert client.get("/mine").status_code == 403


def test_the_month_tells_what_spoils_it_and_the_days_that_are_left(site, cast) -> None:
    base = {
        "center": "LHE-0001",
        "subject": "",
        "was": "pending",
        "recorded_ms": 1,
        "reason": cast.HELD,
        "standard": "s",
    }
    in_november = (
        ("internet.loss", 1, "raised"), ("internet.loss", 3, "raised"), ("internet.loss", 4, "clear"),
        ("internet.download", 2, "raised"), ("internet.download", 40, "raised"),
    )  # fmt: skip
    changes = [
        base | {"criterion": name, "at_ms": cast.NOW_MS - days * cast.DAY_MS, "now": now}
        for name, days, now in in_november
    ]
    with site.store.write() as conn:
        conn.execute(sa.insert(schema.changes), changes)
    local = datetime.fromtimestamp(cast.NOW_MS / 1000, ZONE)
    with site.store.read() as conn:
        month = month_of(conn, "LHE-0001", local)
        december = month_of(conn, "LHE-0001", local.replace(month=12, day=31))
    assert month.spoilt == [("internet.loss", 2), ("internet.download", 1)]
    assert month.days_left == 30 - local.day + 1
    assert (december.spoilt, december.days_left) == ([], 1)
