"""Each rule against cheats taken out of a copy of the code, and the test that must go red over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults import rig
from tests.faults.test_controls import FAILED, outcome

CHEATS = "tests/faults/cheats/test_cheats_of_{}.py::test_a_cheat_is_found_in_its_time[{}]"
PATTERNS = "tests/collector/judging/test_patterns.py"
PLACES = "tests/collector/judging/test_places.py::test_what_does_not_fit_is_found[{}]"
PAST = "tests/collector/ingest/test_closed_past.py"

# what is planted, where, the source, what stands in its place, the test
PLANTED: dict[str, tuple[str, str, str, str]] = {
    "what only the server saw does not count": (
        "collector/judging/server_samples.py", "    if down is None and up is None:\n", "    if True:\n",
        CHEATS.format("tests", "a bad result is thrown away"),
    ),
    "moments of tests are no secret": (
        "collector/speedtests/drawn.py", '    return int.from_bytes(_digest(secret, *words)[:8], "big") / 2**64\n',
        "    return 0.5\n", "tests/collector/speedtests/test_drawn.py",
    ),
    "every unused test is excused": (
        "collector/reports/monthly_verdicts.py", "        over = max(0, count - rule.excused_of(cause))\n",
        "        over = 0\n", "tests/collector/speedtests/test_unused_tests.py",
    ),
    "a synchronised clock is believed of any time": (
        "collector/ingest/times/event_time.py", "return max(FIRST_MS, self.from_ms) <= stamp.wall_ms <=",
        "return FIRST_MS <= stamp.wall_ms <=", f"{PAST}::test_the_hours_before_enrolment_cannot_be_filled",
    ),
    "what came live closes no past": (
        "collector/ingest/rows.py", "            spool.mark(verified.run.last, at_ms)\n", "            pass\n",
        f"{PAST}::test_a_backlog_lies_between_the_last_that_came_live_and_its_receipt",
    ),
    "a spool begun anew says nothing": (
        "collector/ingest/rows.py", "        if before is not None:\n            name, number",
        "        if before is None:\n            return\n        if False:\n            name, number",
        CHEATS.format("record", "the spool is deleted"),
    ),
    "minutes of an offline time have the grade of others": (
        "collector/reports/day_samples.py", "if row.received_ms - row.wall_ms > KEPT_MS else", "if False else",
        "tests/collector/reports/test_day_sheets.py::"
        "test_minutes_that_are_known_only_by_what_was_kept_offline_have_a_grade_of_their_own",
    ),
    "one machine may be two centers": (
        "collector/judging/places.py", "        if len(devices) < 2 or", "        if True or",
        CHEATS.format("place", "one machine is two centers"),
    ),
    "a tunnel is a line": (
        "collector/judging/places.py", "_names(test.network, rules.vpn)", "False", PLACES.format("vpn"),
    ),
    "a mobile line is a line": (
        "collector/judging/places.py", "_names(test.network, rules.mobile)", "False", PLACES.format("hotspot"),
    ),
    "any network is the provider's": (
        "collector/judging/places.py", "place.own and test.asn not in place.own", "False",
        PLACES.format("other_network"),
    ),
    "tests and sessions are not compared": (
        "collector/judging/places.py", "        if place.session_asns and not others",
        "        if False and not others",
        PLACES.format("other_line"),
    ),
    "addresses of sessions are not compared": (
        "collector/judging/places.py", "{test.address for test in place.tests} | set(place.session_addresses)",
        "{test.address for test in place.tests}",
        "tests/collector/judging/test_places.py::test_a_session_at_another_centers_address_is_found",
    ),
    "a network is as good as another": (
        "collector/judging/places.py", "    if place.own or len(before)", "    if True or len(before)",
        PLACES.format("new_network"),
    ),
    "what Mosquitto says of sessions is dropped": (
        "collector/brokers/session_log.py", "        self._book.begin_session(name, address)\n", "",
        "tests/collector/brokers/test_session_log.py",
    ),
    "files are not compared with tests": (
        "collector/judging/fast_lane.py", "    if len(shown) < rules.days or", "    if True or",
        CHEATS.format("tests", "tests have a lane of their own"),
    ),
    "a busy line is no excuse": (
        "collector/judging/fast_lane.py", "self.peak_mbps or 0.0)", "0.0)", "tests/collector/judging/test_fast_lane.py",
    ),
    "a file that was not fetched whole is a figure": (
        "collector/web/machines/files.py", "if number == transfer.parts and transfer.is_whole:",
        "if number == transfer.parts:", "tests/agent/uplink/test_fetch.py",
    ),
    "the length of the way is not compared": (
        "collector/judging/places.py", "        if abs(now - was) > max(", "        if abs(now - was) > 1e9 * max(",
        PLACES.format("moved"),
    ),
    "a virtual machine is a machine": (
        "collector/judging/places.py", 'if place.hardware == "virtual":', "if False:", PLACES.format("virtual"),
    ),
    "equal seats are not seen": (
        "collector/judging/patterns/seats.py", "for seats in same.values() if len(seats) > 1",
        "for seats in same.values() if len(seats) > 10**6",
        f"{PATTERNS}::test_two_names_of_one_machine_are_found_and_honest_seats_are_not",
    ),
    "what seats have in common is not compared": (
        "agent/probes/seats/registry.py", "    shared = in_common(present)\n", "    shared = in_common([])\n",
        "tests/agent/probes/seats/test_registry.py",
    ),
    "what a gateway says of its seats is not counted": (
        "collector/judging/patterns/seats.py", "        if len(seats) >= max(count, share",
        "        if len(seats) > 9 * max(count, share",
        CHEATS.format("seats", "seats are virtual machines"),
    ),
    "seats that began at once are not seen": (
        "collector/judging/patterns/seats.py", "    if len(best) < rules.boot_seats or", "    if True or",
        f"{PATTERNS}::test_machines_of_one_host_began_at_once_and_pcs_after_a_cut_did_not",
    ),
    "values of a UPS may stand still": (
        "collector/judging/patterns/power.py", "one.runtime_s) for one in mains}) == 1:",
        "one.runtime_s) for one in mains}) == 0:",
        f"{PATTERNS}::test_values_that_stand_still_are_found",
    ),
    "a UPS may carry nothing": (
        "collector/judging/patterns/power.py", "        if len(beside) >= rules.unloaded and", "        if False and",
        f"{PATTERNS}::test_a_ups_that_carries_nothing_beside_seats_at_work_is_found",
    ),
    "a day that is said again is a day": (
        "collector/judging/patterns/repeats.py", "and series[at : at + rules.block] == block:", "and False:",
        f"{PATTERNS}::test_a_day_that_is_said_again_is_found_wherever_it_begins",
    ),
    "an hour may come again": (
        "collector/judging/patterns/repeats.py", ">= rules.repeat_bits:", ">= 10**9:",
        f"{PATTERNS}::test_a_single_hour_of_another_day_is_found",
    ),
    "what stands still comes again": (
        "collector/judging/patterns/repeats.py", ">= rules.repeat_bits:", ">= 0:",
        f"{PATTERNS}::test_honest_mains_in_whole_volts_repeat_nothing",
    ),
    "neighbours' cuts are not compared": (
        "collector/judging/patterns/power.py", "            if not cuts[center] and usual",
        "            if False and usual",
        f"{PATTERNS}::test_a_center_without_a_cut_among_neighbours_with_many_is_found",
    ),
    "a gateway's own deaths are not compared with its UPS": (
        "collector/judging/patterns/power.py", "(last.runtime_s or 0.0) >= rules.plenty_s", "False",
        f"{PATTERNS}::test_a_gateway_that_dies_while_its_ups_has_plenty_is_found",
    ),
    "who does not answer was dark": (
        "collector/speedtests/challenges.py", 'state = "missed" if was_heard(conn, row) else "excused"',
        'state = "excused"', "tests/collector/speedtests/test_challenges.py",
    ),
    "a file of evidence vouches for itself": (
        "collector/commands/evidence.py", '    if fields["public_key"] not in trusted:\n', "    if False:\n",
        "tests/collector/commands/simulation/test_witness.py",
    ),
    "files are as the shell's mask has them": (
        "agent/common/command_line.py", "    before = os.umask(FILE_MASK)\n", "    before = os.umask(0)\n",
        "tests/collector/commands/test_file_modes.py",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    "bug",
    [
        pytest.param(
            "what only the server saw does not count",
            marks=pytest.mark.control("what only the server saw does not count", row=61),
        ),
        pytest.param(
            "moments of tests are no secret", marks=pytest.mark.control("moments of tests are no secret", row=61)
        ),
        pytest.param("every unused test is excused", marks=pytest.mark.control("every unused test is excused", row=61)),
        pytest.param(
            "a synchronised clock is believed of any time",
            marks=pytest.mark.control("a synchronised clock is believed of any time", row=61),
        ),
        pytest.param(
            "what came live closes no past", marks=pytest.mark.control("what came live closes no past", row=61)
        ),
        pytest.param(
            "a spool begun anew says nothing", marks=pytest.mark.control("a spool begun anew says nothing", row=61)
        ),
        pytest.param(
            "minutes of an offline time have the grade of others",
            marks=pytest.mark.control("minutes of an offline time have the grade of others", row=61),
        ),
        pytest.param(
            "one machine may be two centers", marks=pytest.mark.control("one machine may be two centers", row=61)
        ),
        pytest.param("a tunnel is a line", marks=pytest.mark.control("a tunnel is a line", row=61)),
        pytest.param("a mobile line is a line", marks=pytest.mark.control("a mobile line is a line", row=61)),
        pytest.param(
            "any network is the provider's", marks=pytest.mark.control("any network is the provider's", row=61)
        ),
        pytest.param(
            "tests and sessions are not compared",
            marks=pytest.mark.control("tests and sessions are not compared", row=61),
        ),
        pytest.param(
            "addresses of sessions are not compared",
            marks=pytest.mark.control("addresses of sessions are not compared", row=61),
        ),
        pytest.param(
            "a network is as good as another", marks=pytest.mark.control("a network is as good as another", row=61)
        ),
        pytest.param(
            "what Mosquitto says of sessions is dropped",
            marks=pytest.mark.control("what Mosquitto says of sessions is dropped", row=61),
        ),
        pytest.param(
            "files are not compared with tests", marks=pytest.mark.control("files are not compared with tests", row=61)
        ),
        pytest.param("a busy line is no excuse", marks=pytest.mark.control("a busy line is no excuse", row=61)),
        pytest.param(
            "a file that was not fetched whole is a figure",
            marks=pytest.mark.control("a file that was not fetched whole is a figure", row=61),
        ),
        pytest.param(
            "the length of the way is not compared",
            marks=pytest.mark.control("the length of the way is not compared", row=61),
        ),
        pytest.param(
            "a virtual machine is a machine", marks=pytest.mark.control("a virtual machine is a machine", row=61)
        ),
        pytest.param("equal seats are not seen", marks=pytest.mark.control("equal seats are not seen", row=61)),
        pytest.param(
            "what seats have in common is not compared",
            marks=pytest.mark.control("what seats have in common is not compared", row=61),
        ),
        pytest.param(
            "what a gateway says of its seats is not counted",
            marks=pytest.mark.control("what a gateway says of its seats is not counted", row=61),
        ),
        pytest.param(
            "seats that began at once are not seen",
            marks=pytest.mark.control("seats that began at once are not seen", row=61),
        ),
        pytest.param(
            "values of a UPS may stand still", marks=pytest.mark.control("values of a UPS may stand still", row=61)
        ),
        pytest.param("a UPS may carry nothing", marks=pytest.mark.control("a UPS may carry nothing", row=61)),
        pytest.param(
            "a day that is said again is a day",
            marks=pytest.mark.control("a day that is said again is a day", row=61),
        ),
        pytest.param("an hour may come again", marks=pytest.mark.control("an hour may come again", row=61)),
        pytest.param(
            "what stands still comes again", marks=pytest.mark.control("what stands still comes again", row=61)
        ),
        pytest.param(
            "neighbours' cuts are not compared", marks=pytest.mark.control("neighbours' cuts are not compared", row=61)
        ),
        pytest.param(
            "a gateway's own deaths are not compared with its UPS",
            marks=pytest.mark.control("a gateway's own deaths are not compared with its UPS", row=61),
        ),
        pytest.param("who does not answer was dark", marks=pytest.mark.control("who does not answer was dark", row=61)),
        pytest.param(
            "a file of evidence vouches for itself",
            marks=pytest.mark.control("a file of evidence vouches for itself", row=61),
        ),
        pytest.param(
            "files are as the shell's mask has them",
            marks=pytest.mark.control("files are as the shell's mask has them", row=61),
        ),
    ],
)
def test_a_rule_that_is_taken_out_is_missed(bug: str, tmp_path: Path) -> None:
    place, old, new, test = PLANTED[bug]
    code, output = outcome(rig.plant(tmp_path, [(place, old, new)]), test, tmp_path)
    assert code == FAILED, output


def test_every_planted_bug_still_has_its_place() -> None:
    gone = [name for name, (place, old, *_) in PLANTED.items() if old not in (rig.ROOT / place).read_text("utf-8")]
    assert gone == []
