"""Bugs planted in a copy of the code, each with a test of its row that must go red over it.

Rows whose ordeals run programs of their own plant their bugs beside them; here are those that a row's own test sees.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import rig

Edits = list[tuple[str, str, str]]
FAILED = 1  # pytest's exit codes; others mean that no test was run
ROOT_SLOW = (pytest.mark.root, pytest.mark.slow)


def outcome(source: Path, test: str, folder: Path) -> tuple[int, str]:
    """pytest's exit code and words for one test, with the product's code taken from ``source``."""
    argv = [sys.executable, "-m", "pytest", f"{rig.ROOT}/{test}", "--fault-seed", "1", "-p", "no:cacheprovider"]
    paths = f"{source} {rig.ROOT}"
    done = subprocess.run(
        [*argv, "-o", f"pythonpath={paths}", "--basetemp", str(folder / "under")],
        capture_output=True, text=True, check=False, cwd=rig.ROOT, timeout=900,
        # Safe: programs that the test starts here must not find the right code before the planted.
        env=os.environ | {"PYTHONPATH": paths.replace(" ", os.pathsep), "PYTHONSAFEPATH": "1"},
    )  # fmt: skip
    return done.returncode, done.stdout[-3000:] + done.stderr[-1000:]


KEEPALIVE = "agent/common/tcp/keepalive.py"
DEAF_TO_THE_KERNEL = [
    ("agent/common/tcp/keepalive.py", "    line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)\n", ""),
    (
        "agent/common/tcp/keepalive.py",
        "    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, dead_ms)\n",
        "",
    ),
]
IMPATIENT = [("agent/uplink/broker_client.py", "CONNECT_S = 150.0\nREACH_S = 45.0", "CONNECT_S = 0.5\nREACH_S = 0.5")]
NOT_PAUSED = [("collector/ingest/delivery.py", "                self._set_away(away=True)\n", "")]
UNBOUNDED = [("collector/ingest/delivery.py", "queue.Queue(QUEUE)", "queue.Queue()")]
BELIEVED = [("collector/ingest/rows.py", "if stored.raws.get(seq, raw) != raw]", "if False]")]
UNCHAINED = [("collector/common/sequence_ranges.py", "and run.after(seq) != chain})", "and False})")]
DROPPED = [
    (
        "agent/spool/queue.py",
        "file.write([*accounts, *build(head, raws, value, wall_ms)], room.victims, gone)",
        "file.write([*accounts, *build(head, raws, value, wall_ms)], {**room.victims, **gone}, gone)",
    ),
    ("agent/spool/queue.py", "file.write((), (), gone)", "file.write((), gone, gone)"),
]
AFTER_COMMIT = [
    ("collector/store/__init__.py", "self.journal is not None:\n                _keep", "False:\n                _keep")
]
UNCOMPARED = [("collector/recovery/drill.py", "if not is_signed(", "if False and not is_signed(")]
READ_TWO_WAYS = [
    ("collector/run/listeners/http_protocol.py", 'refuse_ambiguous(received[: end.end()] if end else b"")', "pass")
]
FREE_RECORDS = [("agent/common/tcp/tls_records.py", "        return self.is_spent\n", "        return False\n")]
FREE_SESSIONS = [("collector/brokers/listeners.py", "    counts_records=True,\n", "")]
ANY_NAME = [("agent/local/status.py", 'if not is_local_name(request.headers.get("host", "")):', "if False:")]
ALL_LOGGED = [
    ("collector/brokers/generated_config.py", '            "log_type notice",', '            "log_type all",')
]
WORKED_OFF = [("collector/brokers/sessions.py", "self.reader.is_ended = True", "pass")]
GIVEN_ALL = [("collector/brokers/embedded.py", " and not self._is_behind(session):", ":")]
FORGOTTEN = [("collector/store/journal/journal.py", "            _carry_out(conn, done.applied)\n", "")]
UNCONFIRMED = [("collector/store/journal/journal.py", "if restored and not (fits and entries):", "if False:")]
MADE_ANEW = [("collector/store/database.py", "    if not is_new:\n        _refuse_empty(settings)\n", "")]
KEY_ANEW = [("collector/store/database.py", "if keys and not is_new:", "if False:")]
SPOOL_UNWATCHED = [("agent/spool/queue.py", "(gone := self._watch.gone()) is None", "(gone := None) is None")]
SAME_NUMBERS = [("agent/spool/rebuild.py", "[*heads, Head(uuid.uuid4().hex)]", "list(heads)")]
UNWATCHED = [("collector/run/service.py", "if gone := self._files.gone():", "if gone := None:")]
TWO_AT_ONCE = [("collector/run/lock.py", "fcntl.LOCK_EX | fcntl.LOCK_NB", "fcntl.LOCK_SH | fcntl.LOCK_NB")]
TWO_ON_ONE = [("collector/run/lock.py", "pg_try_advisory_lock(SERVERS)", "pg_try_advisory_lock_shared(SERVERS)")]
HEARD_AGAIN = [("agent/local/lan.py", "if nonce in self.seen or len", "if len")]
ANY_KEY = [
    (
        "agent/seat/snapshot.py",
        "if not newline or not hmac.compare_digest(",
        "if not newline and not hmac.compare_digest(",
    )
]
ANY_ANSWER = [
    (
        "agent/probes/ups/snmp.py",
        "future = self._waiting.get(number)",
        "future = next(iter(self._waiting.values()), None)",
    )
]

KEPT_OUT = [
    ("agent/common/tcp/connections.py", "return connection if now_s - since_s >=", "return None if now_s - since_s >=")
]
ALWAYS_WELL = [("collector/web/health.py", "for item in self.parts if item.is_late", "for item in self.parts if False")]
ENDED_BY_SETTINGS = [
    ("collector/run/reload.py", "            REFUSED.log(error=error)\n            return\n", "            raise\n")
]
ALL_DESCRIPTORS = [("collector/run/resources.py", "max(1, min(wanted, (allowed - OWN) // SHARE))", "wanted")]
ARENAS = [("collector/run/resources.py", "M_ARENA_MAX, ARENAS = -8, 2", "M_ARENA_MAX, ARENAS = -8, 64")]
NO_SHARE = [("collector/store/quotas.py", "if day.counts[kind] >= limit:", "if False:")]
SHUT_OUT = [
    ("collector/web/machines/gateways.py", "if self._refusals.is_over(proven):", "if self._refusals.is_over(names):")
]

DARK = (
    "tests/faults/lines/test_bad_lines.py::test_a_line_that_goes_dark_without_a_word_is_noticed_in_90_s_and_found_again"
)
LOSSY = "tests/faults/lines/test_bad_lines.py::test_a_backlog_drains_over_30_pct_loss_each_way_and_800_ms"
SUBSCRIBER = "tests/collector/ingest/mqtt/test_subscriber.py"
AWAY = f"{SUBSCRIBER}::test_while_the_database_is_away_nothing_is_said_and_then_all_of_it"
BOUNDED = f"{SUBSCRIBER}::test_memory_is_bounded_and_the_broker_waits"
INGEST = "tests/collector/ingest/test_transaction.py"
OTHERS = f"{INGEST}::test_other_bytes_under_a_held_number_are_an_equivocation_with_both_kept"
FORKED = f"{INGEST}::test_a_chain_that_does_not_continue_is_a_fork_and_its_readings_are_held"
RESTORED = "tests/collector/store/test_restores.py::test_a_restore_loses_nothing_that_a_gateway_still_holds"
DECISIONS = "tests/collector/store/journal/test_journal.py"
DRILL = "tests/collector/recovery/test_drill.py::test_what_would_not_bring_the_server_back_is_said"
AGAIN = f"{DECISIONS}::test_what_was_decided_after_a_copy_holds_again_after_its_restore"
CONFIRMED = f"{DECISIONS}::test_where_the_journal_is_lost_too_a_person_must_confirm"
NEXT = f"{DECISIONS}::test_half_a_line_was_never_promised"
FIRST = "tests/collector/store/test_database.py"
EMPTY = f"{FIRST}::test_an_empty_database_beside_old_keys_is_refused"
KEYLESS = f"{FIRST}::test_new_keys_beside_an_old_database_are_refused"
TAKEN_AWAY = "tests/agent/spool/test_queue.py::test_a_file_that_is_taken_away_is_written_anew"
GONE = "tests/faults/processes/test_files_gone.py"
LOG_DELETED = f"{GONE}::test_a_log_that_is_deleted_costs_nothing"
LOCKS = "tests/collector/run/test_lock.py"
ONE_FOLDER = f"{LOCKS}::test_a_folder_has_one_collector_and_the_error_says_which"
ONE_DATABASE = f"{LOCKS}::test_a_postgresql_serves_one_collector"
TWICE = "tests/agent/local/test_lan.py::test_the_same_words_are_not_heard_twice"
KEYS = "tests/agent/local/test_lan_keys.py::test_a_leaked_seat_cannot_speak_for_another"
TWO_WAYS = (
    "tests/collector/run/listeners/test_http_protocol.py"
    "::test_what_a_proxy_in_front_could_read_otherwise_is_refused_once[a length and a coding]"
)
RECORDS = "tests/faults/hostile/test_tls_strangers.py::test_records_that_bring_next_to_nothing_are_ended"
SESSION_RECORDS = "tests/faults/hostile/test_mqtt_streams.py::test_records_that_bring_nothing_put_a_gateway_out"
POINTED_HERE = "tests/agent/local/test_hostile_page.py::test_a_site_whose_name_was_pointed_here_is_shown_nothing"
MQTT_5 = "tests/faults/brokers/test_mqtt5_streams.py::test_no_stream_of_mqtt_5_keeps_another_out_of_mosquitto"
ENDED = "tests/collector/brokers/test_listeners.py::test_what_an_ended_session_has_sent_keeps_no_other_out"
IDLE = "tests/collector/brokers/test_listeners.py::test_a_gateway_that_reads_nothing_is_given_no_more"
OPENED = (
    "tests/agent/common/tcp/test_connections.py::test_128_half_open_connections_of_an_address_keep_no_neighbour_out"
)
HEALTH = "tests/collector/run/test_health.py"
FULL = f"{HEALTH}::test_a_disk_that_takes_nothing_more_is_not_healthy_until_it_does_again[full]"
RELOADED = f"{HEALTH}::test_a_hangup_takes_new_channels_and_refuses_a_file_with_a_mistake"
FEW = f"{HEALTH}::test_with_few_descriptors_pages_give_way_and_gateways_do_not"
LITTLE = f"{HEALTH}::test_with_little_address_space_pages_give_way_and_gateways_do_not"
SHARE = "tests/collector/store/test_quotas.py::test_readings_over_a_days_share_are_held_and_not_filed_with_one_finding"
GUESSED = "tests/collector/web/test_api.py::test_guessing_tokens_ends_in_a_pause_for_the_guesser_alone"
CARD = "tests/agent/probes/ups/test_ups_snmp.py::test_an_answer_to_an_older_question_is_not_taken"


@pytest.mark.parametrize(
    ("bug", "test"),
    [
        pytest.param(
            DEAF_TO_THE_KERNEL,
            DARK,
            marks=[*ROOT_SLOW, pytest.mark.control("nobody asks the kernel to notice a dead peer", row=19)],
        ),
        pytest.param(
            IMPATIENT,
            LOSSY,
            marks=[*ROOT_SLOW, pytest.mark.control("a connect is given up before an answer can come", row=20)],
        ),
        pytest.param(
            NOT_PAUSED,
            AWAY,
            marks=pytest.mark.control("the broker goes on delivering while the database is away", row=22),
        ),
        pytest.param(
            UNBOUNDED,
            BOUNDED,
            marks=pytest.mark.control("the queue before the database has no end", row=23),
        ),
        pytest.param(
            BELIEVED,
            OTHERS,
            marks=pytest.mark.control("other bytes under a held number pass for a repetition", row=26),
        ),
        pytest.param(
            UNCHAINED,
            FORKED,
            marks=pytest.mark.control("chains are not compared where they meet", row=27),
        ),
        pytest.param(
            DROPPED,
            RESTORED,
            marks=pytest.mark.control("a receipted reading is let go at once", row=49),
        ),
        pytest.param(
            rig.NOT_ASKED_FOR,
            RESTORED,
            marks=[pytest.mark.slow, pytest.mark.control("nobody asks for what is lacking", row=49)],
        ),
        pytest.param(
            UNCOMPARED,
            DRILL,
            marks=[pytest.mark.slow, pytest.mark.control("a drill verifies no signature", row=54)],
        ),
        pytest.param(
            FORGOTTEN,
            AGAIN,
            marks=[pytest.mark.slow, pytest.mark.control("the journal is not carried out after a restore", row=53)],
        ),
        pytest.param(
            UNCONFIRMED,
            CONFIRMED,
            marks=pytest.mark.control("a lost journal is passed over in silence", row=53),
        ),
        pytest.param(
            AFTER_COMMIT,
            NEXT,
            marks=[pytest.mark.slow, pytest.mark.control("a decision is committed without its line", row=53)],
        ),
        pytest.param(
            MADE_ANEW,
            EMPTY,
            marks=pytest.mark.control("an empty database is filled beside old keys", row=50),
        ),
        pytest.param(
            KEY_ANEW,
            KEYLESS,
            marks=[pytest.mark.slow, pytest.mark.control("a lost key is made anew", row=50)],
        ),
        pytest.param(
            SPOOL_UNWATCHED,
            TAKEN_AWAY,
            marks=pytest.mark.control("the spool's file is not looked for", row=51),
        ),
        pytest.param(
            SAME_NUMBERS,
            TAKEN_AWAY,
            marks=[pytest.mark.slow, pytest.mark.control("a spool written anew goes on with its numbers", row=51)],
        ),
        pytest.param(
            UNWATCHED,
            LOG_DELETED,
            marks=[pytest.mark.slow, pytest.mark.control("the collector's files are not looked for", row=51)],
        ),
        pytest.param(
            TWO_AT_ONCE,
            ONE_FOLDER,
            marks=pytest.mark.control("the lock on a folder is shared", row=52),
        ),
        pytest.param(
            TWO_ON_ONE,
            ONE_DATABASE,
            marks=pytest.mark.control("the lock on a database is shared", row=52),
        ),
        pytest.param(
            HEARD_AGAIN,
            TWICE,
            marks=pytest.mark.control("a seat's words are heard again", row=35),
        ),
        pytest.param(
            ANY_KEY,
            KEYS,
            marks=pytest.mark.control("a seat may speak under any key", row=35),
        ),
        pytest.param(
            ANY_ANSWER,
            CARD,
            marks=pytest.mark.control("an answer to another question is taken", row=36),
        ),
        pytest.param(
            KEPT_OUT,
            OPENED,
            marks=pytest.mark.control("who waits for its client gives way to nobody", row=55),
        ),
        pytest.param(
            READ_TWO_WAYS,
            TWO_WAYS,
            marks=pytest.mark.control("a head that a proxy reads otherwise is taken", row=55),
        ),
        pytest.param(
            FREE_RECORDS,
            RECORDS,
            marks=[pytest.mark.slow, pytest.mark.control("records of TLS may bring nothing", row=55)],
        ),
        pytest.param(
            FREE_SESSIONS,
            SESSION_RECORDS,
            marks=[pytest.mark.slow, pytest.mark.control("records of a session may bring nothing", row=55)],
        ),
        pytest.param(
            ANY_NAME,
            POINTED_HERE,
            marks=pytest.mark.control("the gateway's page is shown under any name", row=55),
        ),
        pytest.param(
            ALL_LOGGED,
            MQTT_5,
            marks=[pytest.mark.slow, pytest.mark.control("Mosquitto logs each message", row=55)],
        ),
        pytest.param(
            WORKED_OFF,
            ENDED,
            marks=[pytest.mark.slow, pytest.mark.control("what an ended session sent is worked off", row=55)],
        ),
        pytest.param(
            GIVEN_ALL,
            IDLE,
            marks=[pytest.mark.slow, pytest.mark.control("who reads nothing is given all the same", row=55)],
        ),
        pytest.param(
            ALWAYS_WELL,
            FULL,
            marks=[pytest.mark.slow, pytest.mark.control("health is what is connected", row=56)],
        ),
        pytest.param(
            ENDED_BY_SETTINGS,
            RELOADED,
            marks=[pytest.mark.slow, pytest.mark.control("a mistake in the settings ends the collector", row=62)],
        ),
        pytest.param(
            ALL_DESCRIPTORS,
            FEW,
            marks=[pytest.mark.slow, pytest.mark.control("pages may have every descriptor", row=57)],
        ),
        pytest.param(
            ARENAS,
            LITTLE,
            marks=[pytest.mark.slow, pytest.mark.control("each thread reserves address space of its own", row=58)],
        ),
        pytest.param(
            NO_SHARE,
            SHARE,
            marks=[pytest.mark.slow, pytest.mark.control("a gateway's readings of a day have no end", row=59)],
        ),
        pytest.param(
            SHUT_OUT,
            GUESSED,
            marks=[pytest.mark.slow, pytest.mark.control("an address that was refused often is shut out", row=60)],
        ),
    ],
)
def test_a_planted_bug_is_seen_by_the_rows_own_test(bug: Edits, test: str, tmp_path: Path) -> None:
    code, output = outcome(rig.plant(tmp_path, bug), test, tmp_path)
    assert code == FAILED, output


def test_without_a_bug_the_same_way_of_running_it_is_green(tmp_path: Path) -> None:
    code, output = outcome(rig.plant(tmp_path, []), BOUNDED, tmp_path)
    assert code == 0, output


def test_every_planted_bug_still_has_its_place() -> None:
    """Quick, while the bugs themselves are planted in the long run only."""
    seen = test_a_planted_bug_is_seen_by_the_rows_own_test
    marks = next(mark for mark in seen.pytestmark if mark.name == "parametrize")
    bugs = [(place, old) for parameters in marks.args[1] for place, old, _ in parameters.values[0]]
    gone = [(place, old) for place, old in bugs if old not in (rig.ROOT / place).read_text("utf-8")]
    assert len(bugs) > 20
    assert gone == []
    tests = [parameters.values[1].partition("[")[0].partition("::") for parameters in marks.args[1]]
    lost = [(path, name) for path, _, name in tests if f"def {name}(" not in (rig.ROOT / path).read_text("utf-8")]
    assert lost == []
