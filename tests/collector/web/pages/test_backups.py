"""The page of backups: none yet, a good one, and a drill that failed."""

from __future__ import annotations

from agent.common.reasons import Reason
from collector.recovery import drill
from collector.reports.audit import nightly


def test_the_newest_of_each_is_shown_with_its_result(fleet) -> None:
    about = {"took_s": 1.0, "file": "/backups/nabz-x.backup", "made_ms": 1_795_000_000_000, "size": 12_300_000}
    with fleet.client() as client:
        assert "None yet" in client.get("/backups").text
        good, bad = Reason("backup.good", {"n": 7}), Reason("drill.other_key", {"name": "collector.key"})
        drill.record(fleet.store, drill.Copy(act="backup", at_ms=1, is_good=True, detail=good, **about))
        drill.record(fleet.store, drill.Copy(act="drill", at_ms=2, is_good=False, detail=bad, **about))
        page = client.get("/backups").text
    assert page.count("None yet") == 1  # of the audit of a night
    assert "12.3 MB" in page
    assert "files, read back whole" in page
    assert "is not the one in use here" in page
    assert "Not usable" in page


def test_the_audit_of_the_last_night_is_shown(served) -> None:
    with served.client() as client:
        assert "nabz-collector verify --sample" in client.get("/backups").text
        for differing, words in (((), "As it was signed"), (("LHR-1",), "Not as it was signed")):
            result = nightly.NightResult(at_ms=1_790_000_000_000, month="2026-11", centers=7, differing=differing)
            with served.store.write() as conn:
                nightly.record(conn, result)
            page = client.get("/backups").text
            assert words in page
            assert ("LHR-1" in page) == bool(differing)
