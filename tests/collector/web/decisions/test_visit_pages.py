"""Pages of visits: published, drawn, inspected."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from collector.log import sequencing
from collector.reports.inspections import draw, records
from collector.store import schema
from tests.collector.web.decisions.test_dispute_pages import HOSTILE, logged_in, send


def test_from_the_hash_of_a_seed_to_an_inspection(served, cast) -> None:
    cast.insert(served.store, schema.centers, [cast.center_row(f"LHE-000{n}", 0, name=HOSTILE) for n in range(4)])
    with logged_in(served, cast, "Sara", "auditor") as client:
        assert send(client, "/visits", "/visits", name="<x>", number="2").status_code == 400
        assert send(client, "/visits", "/visits", name="2026-11", number="2").status_code == 303
        early = send(client, "/visits", "/visits", act="draw", name="2026-11")
        assert early.status_code == 400
        assert "does not have the hash" in early.text
        signer = sequencing.begin(served.store, Ed25519PrivateKey.generate(), "nabz.example/log", cast.NOW_MS)
        sequencing.sequence(served.store, signer, cast.NOW_MS)
        assert send(client, "/visits", "/visits", act="draw", name="2026-11").status_code == 303
        sequencing.sequence(served.store, signer, cast.NOW_MS)
        facts = client.get("/visits/2026-11").json()
        assert draw.problems(facts) == []
        page = client.get("/visits").text
        assert HOSTILE not in page
        code = facts["visits"][0]
        assert f"/centers/{code}/inspection?list=2026-11" in page
        form = f"/centers/{code}/inspection"
        given = {"at": "2026-11-05T11:00", "list": "2026-11", "item.cabins": "3", "remarks": HOSTILE}
        wrong = send(client, form, form, **{**given, "item.cabins": "many"})
        assert wrong.status_code == 400
        assert HOSTILE not in wrong.text
        assert 'value="2026-11-05T11:00"' in wrong.text
        assert send(client, form, form, **given).status_code == 303
        assert HOSTILE not in client.get(form).text
        assert "Inspected" in client.get("/visits").text
        assert client.get("/visits/none").status_code == 404
    with served.store.read() as conn:
        (one,) = records.listed(conn)
        assert (one.answers, one.recorded_by) == ({"cabins": 3}, "Sara")
    with logged_in(served, cast, "Dana", "desk") as client:
        assert 'method="post" action="/visits' not in client.get("/visits?lang=ur").text
