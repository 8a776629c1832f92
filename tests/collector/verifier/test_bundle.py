"""A bundle says offline what the collector says; whoever changes it, cleverly or not, is named."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import itertools
import json
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from collector.judging.flags import witness
from collector.log import notes, sequencing
from collector.log.notes import COSIGNED, NoteKey
from collector.log.sequencing import LogSigner
from collector.reports.audit import bundle
from collector.standard import documents
from collector.store import Store
from collector.verifier import servers
from collector.verifier.__main__ import main
from collector.verifier.archive import BundleError
from collector.verifier.check import Outcome, check
from collector.verifier.samples import SpokenTime
from collector.web.decisions import proof
from tests.collector.reports.audit.closed_month import CODE, LOG_KEY, NAME, ORIGIN, close, played
from tests.helpers import ROOT
from tests.timelines.plays.order_play import REPORTED, STANDARDS, make_play

KEY = LogSigner(ORIGIN, LOG_KEY).public
WITNESS = Ed25519PrivateKey.from_private_bytes(bytes(32))
NO_LOG = "whether a later revision of the report was closed: the log says it with --log"
WITNESS_KEY = NoteKey("witness.example", WITNESS.public_key().public_bytes_raw(), COSIGNED)

Files = dict[str, bytes]
Edit = Callable[[Files], None]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    path = played(folder, make_play(4), "ready", 4)
    close(path)
    store = Store.open(f"sqlite:///{path}")
    with store.write() as conn:
        note = sequencing.newest(conn)
        assert note is not None
        mine = notes.cosignature(note.text, WITNESS_KEY.name, WITNESS, 1_800_000_000)
        sequencing.keep_cosignatures(conn, note.with_signatures([mine]), WITNESS_KEY)
    with store.read() as conn:
        bundle.write(conn, folder / "b.zip", CODE, NAME, STANDARDS, documents(()), KEY, REPORTED)
        bundle.write(conn, folder / "again.zip", CODE, NAME, STANDARDS, documents(()), KEY, REPORTED)
    store.close()
    return folder / "b.zip"


def checked(path: Path) -> Outcome:
    return check(path, KEY, [WITNESS_KEY])


def edited(written: Path, folder: Path, edit: Edit, *, seals: bool = True) -> Path:
    """A bundle in which somebody changed files; `seals`: and made the manifest fit."""
    with zipfile.ZipFile(written) as old:
        files = {name: old.read(name) for name in old.namelist()}
    edit(files)
    if seals:
        manifest = json.loads(files.pop("manifest.json"))
        manifest["files"] = {name: hashlib.sha256(body).hexdigest() for name, body in files.items()}
        files["manifest.json"] = json.dumps(manifest).encode()
    path = folder / "edited.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, body in files.items():
            new.writestr(name, body)
    return path


def in_line(name: str, number: int, change: Callable[[dict[str, Any]], Any]) -> Edit:
    """Of a file of rows one is changed; `change` may return what takes its place, or None to take it out."""

    def edit(files: Files) -> None:
        lines = files[name].splitlines()
        row = json.loads(lines[number])
        kept = change(row)
        lines[number] = b"" if kept is False else json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
        files[name] = b"\n".join(line for line in lines if line) + b"\n"

    return edit


def in_report(change: Callable[[dict[str, Any]], Any]) -> Edit:
    def edit(files: Files) -> None:
        report = json.loads(files["report.json"])
        change(report)
        files["report.json"] = json.dumps(report, ensure_ascii=False, separators=(",", ":")).encode()

    return edit


def gone(_row: dict[str, Any]) -> bool:
    return False


def put(**values: Any) -> Callable[[dict[str, Any]], None]:
    return lambda row: row.update(values)


def bytes_changed(row: dict[str, Any]) -> None:
    body = base64.b64decode(row["body"])
    row["body"] = base64.b64encode(body.replace(b'"wall_ms":179', b'"wall_ms":178')).decode()


def up_longer(row: dict[str, Any]) -> None:
    row["minutes"]["up"] += 60
    row["minutes"]["unknown_unexplained"] -= 60


def dropped(files: Files) -> None:
    name = next(name for name in files if name.startswith("standards/"))
    files[name] += b"\n# mild\n"


def another_key(files: Files) -> None:
    rows = [json.loads(line) for line in files["gateways.jsonl"].splitlines()]
    rows[0]["public_key"] = base64.b64encode(bytes(range(32))).decode()
    files["gateways.jsonl"] = b"\n".join(json.dumps(row).encode() for row in rows)


def head_changed(files: Files) -> None:
    lines = files["checkpoint.txt"].decode().split("\n")
    lines[1] = str(int(lines[1]) + 1)
    files["checkpoint.txt"] = "\n".join(lines).encode()


def swapped(files: Files) -> None:
    lines = files["batches.jsonl"].splitlines()
    lines[2], lines[3] = lines[3], lines[2]
    files["batches.jsonl"] = b"\n".join(lines)


def record_changed(row: dict[str, Any]) -> None:
    row["body"] = base64.b64encode(base64.b64decode(row["body"]).replace(b'"up":', b'"up" :')).decode()


def doubled(files: Files) -> None:
    files["records.jsonl"] *= 2


TAMPERS: dict[str, tuple[Edit, str]] = {
    "a body": (in_line("batches.jsonl", 3, bytes_changed), "is not signed by gateway"),
    "a signature": (in_line("batches.jsonl", 3, put(signature="AAAA")), "is not signed by gateway"),
    "a batch taken out": (in_line("batches.jsonl", 3, gone), "had a receipt, and no batch has them"),
    "a batch's number": (in_line("batches.jsonl", 3, put(first_seq=1)), "column first_seq is not as it was signed"),
    "what was new in it": (in_line("batches.jsonl", 3, put(fresh=[])), "says that it was the first to bring"),
    "batches swapped": (swapped, "with another digest than"),
    "a gateway's key": (another_key, "has a key that is not its own"),
    "a record": (in_line("records.jsonl", 0, record_changed), "is not signed by server"),
    "a record's figure": (in_line("records.jsonl", 0, put(down_mbps=900.0)), "down_mbps says 900.0"),
    "a record left out": (in_line("records.jsonl", 0, gone), "was logged when it came, and the bundle lacks it"),
    "a record that stands twice": (doubled, "stands twice"),
    "a server's key": (in_line("servers.jsonl", 0, put(public_key="AAAA")), "is not signed by server"),
    "a fact": (in_line("facts.jsonl", 1, put(value='"three"')), "is not what was recorded and logged"),
    "a fact taken out": (in_line("facts.jsonl", 1, gone), "that was recorded and logged is missing"),
    "the calendar": (in_line("calendar.jsonl", 0, put(to_ms=9)), "calendar 1: is not what was recorded and logged"),
    "a standard": (dropped, "is another document than its name says"),
    "a day sheet": (in_line("sheets.jsonl", 9, up_longer), "the day sheets add up to"),
    "a day sheet taken out": (in_line("sheets.jsonl", 9, gone), "sheets: no day sheet from"),
    "a verdict": (in_report(lambda one: one["criteria"][0].update(verdict="meets")), "verdict says meets"),
    "minutes of the report": (in_report(lambda one: one["ledger"].update(up=1)), "report: ledger.up says 1"),
    "a criterion left out": (in_report(lambda one: one["criteria"].pop()), "of the standard is missing"),
    "an exclusion left out": (in_report(lambda one: one.update(exclusions=[])), "is not the text of revision 1"),
    "a leaf": (in_line("leaves.jsonl", 2, put(entry="{}")), "is not in the log that the checkpoint signs"),
    "the head": (head_changed, "checkpoint: is not signed with the key"),
}


def test_a_bundle_says_what_the_collector_says_and_is_the_same_twice(written: Path) -> None:
    done = checked(written)
    assert done.wrong == []
    assert done.unproven == [NO_LOG]
    assert (done.center, done.month, done.sheets) == (CODE, NAME, 30)
    assert done.batches > 5
    assert done.readings > done.batches
    assert {row["verdict"] for row in done.verdicts} <= {"meets", "watch", "below", "not enough data"}
    assert done.records > 0
    assert len(done.verdicts) > 10
    assert written.read_bytes() == written.with_name("again.zip").read_bytes()


@pytest.mark.parametrize("name", TAMPERS)
def test_what_somebody_changed_is_named(written: Path, tmp_path: Path, name: str) -> None:
    edit, words = TAMPERS[name]
    done = checked(edited(written, tmp_path, edit))
    assert done.count > 0
    assert any(words in text for text in done.wrong), done.wrong


def test_a_sheet_that_claims_more_than_was_signed_is_named(written: Path, tmp_path: Path) -> None:
    """The arithmetic alone would not see it, where the report claims the same."""

    def more(row: dict[str, Any]) -> None:
        row["criteria"][0]["counted"] += 100_000
        row["availability"]["line_up"] += 1
        row["availability"]["mains"] += 1440

    found = checked(edited(written, tmp_path, in_line("sheets.jsonl", 9, up_longer))).wrong
    assert any("up, below and down says" in one and "signed readings speak for" in one for one in found)
    found = checked(edited(written, tmp_path, in_line("sheets.jsonl", 9, more))).wrong
    assert any("power says" in one for one in found)
    assert any("samples of" in one and "signed readings" in one for one in found)


READING = '{"kind":"link","at":{"wall_ms":%d,"mono_ms":%d,"boot":"b","clock":"%s"},"loss_pct":%s}'
KINDS = {"internet.loss": "link"}


@pytest.mark.parametrize(
    ("clock", "loss", "claims", "wrong"),
    [
        ("synced", "0", {"up": 60, "line_up": 60}, []),
        ("synced", "0", {"up": 63, "line_up": 60}, ["up, below and down says 63"]),
        ("synced", "0", {"up": 60, "line_up": 63}, ["a line that is up says 63"]),
        ("synced", "0", {"up": 60, "line_down": 1}, ["a line that is down says 1"]),
        ("synced", "100", {"up": 60, "line_down": 60}, []),
        ("synced", "100", {"up": 60, "line_up": 1}, ["a line that is up says 1"]),
        ("unsynced", "0", {"up": 180, "line_up": 180}, []),  # on which day they were nobody can say
        ("unsynced", "0", {"up": 181, "line_up": 0}, ["up, below and down says 181"]),
        ("synced", "0", {"counted": 60}, []),
        ("synced", "0", {"counted": 61}, ["internet.loss counts 61 samples of 60"]),
    ],
)
def test_a_reading_speaks_for_its_own_minutes_alone(
    clock: str, loss: str, claims: dict[str, int], wrong: list[str]
) -> None:
    spoken, begin = SpokenTime(), 1_790_000_040_000
    for number in range(60):
        at_ms = begin + number * 60_000 + 31_000
        spoken.take((READING % (at_ms, number * 60_000, clock, loss)).encode(), at_ms + 5_000)
    spoken.take(b"[]", 0)  # no reading
    minutes = {"up": claims.get("up", 0), "below": 0, "down": 0}
    known = {name: claims.get(name, 0) for name in ("line_up", "line_down", "mains", "battery")}
    row = {"criterion": "internet.loss", "counted": claims.get("counted", 0)}
    sheet = {
        "from_ms": begin,
        "to_ms": begin + 86_400_000,
        "minutes": minutes,
        "availability": known,
        "criteria": [row],
    }
    found = list(spoken.excess([sheet], KINDS))
    assert len(found) == len(wrong)
    assert all(text in one for text, one in zip(wrong, found, strict=True))


def test_leaves_that_were_taken_out_leave_less_proven(written: Path, tmp_path: Path) -> None:
    def without(kind: bytes) -> Edit:
        def edit(files: Files) -> None:
            lines = files["leaves.jsonl"].splitlines()
            files["leaves.jsonl"] = b"\n".join(line for line in lines if b'\\"kind\\":\\"' + kind not in line) + b"\n"

        return edit

    for kind, words in ((b"day", "no leaf of the log"), (b"report", "no closed report in the log"),
                        (b"records", "records of measurement servers have no leaf of the log")):  # fmt: skip
        done = checked(edited(written, tmp_path, without(kind)))
        assert done.wrong == []
        assert any(words in text for text in done.unproven), done.unproven
    assert checked(edited(written, tmp_path, without(b"standard"))).count == 1


def test_a_bundle_of_before_there_were_records_is_read_and_says_so(written: Path, tmp_path: Path) -> None:
    def older(files: Files) -> None:
        del files["servers.jsonl"], files["records.jsonl"]
        files["manifest.json"] = files["manifest.json"].replace(b'"format": 2', b'"format": 1')

    done = checked(edited(written, tmp_path, older))
    assert done.wrong == []
    assert done.unproven == ["the bundle is of format 1, without the records of measurement servers", NO_LOG]


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 10**7)), max_size=40))
def test_a_rate_is_what_the_collector_makes_of_the_same_curve(steps: list[tuple[int, int]]) -> None:
    at_ms, total = list(itertools.accumulate(one[0] for one in steps)), list(itertools.accumulate(s[1] for s in steps))
    assert servers.rate_mbps(at_ms, total) == witness.rate_mbps(at_ms, total)[0]


def test_a_file_that_does_not_fit_the_manifest_is_named(written: Path, tmp_path: Path) -> None:
    path = edited(written, tmp_path, in_report(lambda one: one.update(month="2026-12")), seals=False)
    with pytest.raises(BundleError, match=r"report.json: is not the file that the manifest names"):
        check(path)


def test_without_the_keys_that_one_knows_it_says_what_is_not_proven(written: Path) -> None:
    done = check(written)
    assert done.wrong == []
    assert len(done.unproven) == 3
    other = NoteKey("other.example", bytes(32), COSIGNED)
    assert any("other.example has not cosigned" in text for text in check(written, KEY, [other]).wrong)
    stranger = LogSigner(ORIGIN, WITNESS).public
    assert any("not signed with the key" in text for text in check(written, stranger).wrong)


def zipped(folder: Path, *files: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / "h.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for name, body in files:
            file.writestr(name, body)
    return folder / "h.zip"


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([("manifest.json", b"{}"), ("../../etc/passwd", b"x")], "is no file of a bundle"),
        ([("/report.json", b"x")], "is no file of a bundle"),
        ([("standards/../x.toml", b"x")], "is no file of a bundle"),
        ([("report.json", bytes(15 << 20))], "more than a bundle has"),
        ([("report.json", bytes(17 << 20))], "more than a bundle has"),
        ([("Report.json", b"{}")], "is no file of a bundle"),
        ([("REPORT.JSON", b"{}")], "is no file of a bundle"),
        ([("report.json ", b"{}")], "is no file of a bundle"),
        ([("report.json.", b"{}")], "is no file of a bundle"),
        ([("./report.json", b"{}")], "is no file of a bundle"),
        ([("report.jso\u0274", b"{}")], "is no file of a bundle"),
        ([("standards/", b"")], "is no file of a bundle"),
        ([(f"standards/{'A' * 64}.toml", b"")], "is no file of a bundle"),
        ([("notes.txt", b"see here")], "is no file of a bundle"),
        ([("manifest.json", b"{}")], "is of format"),
        ([("manifest.json", b"[" * 3_000)], "is no JSON"),
        ([("manifest.json", b"[]")], "no object"),
        ([("manifest.json", b'{"format":1,"center":7}')], "`center` is missing or is of another kind"),
        ([], "manifest.json: is missing"),
    ],
)
def test_a_hostile_zip_is_refused(tmp_path: Path, files: list[tuple[str, bytes]], words: str) -> None:
    with pytest.raises(BundleError, match=words):
        check(zipped(tmp_path, *files))


def test_a_file_that_is_a_link_to_one_of_the_machine_is_read_as_the_text_that_it_is(
    written: Path, tmp_path: Path
) -> None:
    """As `zip --symlinks` packs it: nothing is unpacked to a disk, so it leads nowhere."""
    secret = tmp_path / "report.json"
    with zipfile.ZipFile(written) as old:
        files = {name: old.read(name) for name in old.namelist()}
    secret.write_bytes(files["report.json"])
    link = zipfile.ZipInfo("report.json")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "l.zip", "w") as new:
        for name, body in files.items():
            new.writestr(link if name == link.filename else name, str(secret) if name == link.filename else body)
    with pytest.raises(BundleError, match=r"report\.json: is not the file that the manifest names"):
        checked(tmp_path / "l.zip")


def test_a_witness_that_cosigned_another_log_has_not_cosigned_this_one(written: Path, tmp_path: Path) -> None:
    """Of the same size and root even: the log's name is part of what is signed."""

    def edit(files: Files) -> None:
        note = notes.Note.parse(files["checkpoint.txt"])
        head = notes.Checkpoint.parse(note.text)
        other = notes.Checkpoint("other.example/log", head.size, head.root).text
        line = notes.cosignature(other, WITNESS_KEY.name, WITNESS, 1_800_000_000)
        files["checkpoint.txt"] = str(note.with_signatures([line])).encode()

    wrong = checked(edited(written, tmp_path, edit)).wrong
    assert wrong == ["checkpoint: witness.example has not cosigned it"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="stands twice"):
        check(zipped(tmp_path, ("report.json", b"{}"), ("report.json", b"{}")))


@pytest.mark.parametrize("cut", [0, 10, 1000, -30])
def test_a_file_that_was_cut_is_refused(written: Path, tmp_path: Path, cut: int) -> None:
    (tmp_path / "cut.zip").write_bytes(written.read_bytes()[:cut])
    with pytest.raises(BundleError, match="is no zip file"):
        check(tmp_path / "cut.zip")


def test_bytes_that_were_harmed_anywhere_never_pass(written: Path, tmp_path: Path) -> None:
    body = written.read_bytes()
    for at in range(40, len(body), len(body) // 60):
        (tmp_path / "harmed.zip").write_bytes(body[:at] + bytes([body[at] ^ 0x55]) + body[at + 1 :])
        try:
            done = checked(tmp_path / "harmed.zip")
        except BundleError:
            continue
        assert done.count or done.verdicts == checked(written).verdicts, at


def test_the_page_says_what_the_command_says(written: Path) -> None:
    with written.open("rb") as file:
        assert proof.checked(file, str(KEY), "") == json.loads(json.dumps(dataclasses.asdict(check(written, KEY))))


def test_the_command_needs_nothing_but_the_standard_library_and_cryptography(written: Path, tmp_path: Path) -> None:
    shutil.copy(written, tmp_path / "b.zip")
    code = (
        "import sys, json; from collector.verifier.__main__ import main; code = main([sys.argv[1]]);"
        "print(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]))"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "b.zip")]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT)
    *told, last = done.stdout.splitlines()
    exit_code, names = json.loads(last)
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(sorted({n.partition('.')[0] for n in sys.modules}))"],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    beyond = set(names) - set(sys.stdlib_module_names) - set(eval(bare.stdout))
    assert {name for name in beyond if not name.startswith("_")} == {"agent", "collector", "cryptography"}
    assert exit_code == 0
    assert told[0] == f"{CODE} {NAME}: as it was signed"


def test_the_command_has_an_exit_code_for_each_end(written: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    assert main([str(written), "--key", str(KEY), "--witness", str(WITNESS_KEY), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["count"] == 0
    assert main([str(edited(written, tmp_path, another_key))]) == 1
    assert "NOT as it was signed" in capsys.readouterr().out
    for words in ([str(tmp_path / "none.zip")], [str(written), "--key", "x"], [str(ROOT / "README.md")]):
        assert main(words) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3
