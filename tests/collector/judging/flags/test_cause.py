"""From what is known of a gap to its cause: each cause as a story of readings, neighbours, and properties of all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.common.reasons import Reason, decode_all, encode_all
from agent.wire import BootReading, Failure, LinkReading, Reading, SeatColumns, SeatsReading, UpsReading
from collector.judging.flags.cause import (
    GRADES,
    NAMES,
    NeighbourWitness,
    name_cause,
)
from collector.judging.flags.gap_facts import GapFacts, Sign, facts_of, fold, moves_runs, runs_of, sign_of, with_runs

MINUTE = 60_000
START = 1_770_000_000_000
MAINS = UpsReading(output_state="online", battery_status="normal", battery_charge_pct=100.0)
BATTERY = UpsReading(output_state="battery", battery_status="normal", battery_charge_pct=60.0)
LOW = UpsReading(output_state="battery", battery_status="low", battery_charge_pct=4.0)


def place(word: Any) -> LinkReading:
    return LinkReading(loss_pct=100.0, fault_place=word)


def boot(end: Any, dark_minutes: float | None) -> BootReading:
    return BootReading(previous_end=end, dark_s=None if dark_minutes is None else dark_minutes * 60)


def signs(*readings: tuple[float, Reading]) -> list[Sign]:
    """Readings by the minute of their story, the gap being from 0 to 30."""
    found = []
    for number, (minute, reading) in enumerate(readings):
        kind = str(type(reading).__struct_config__.tag)
        found.append(sign_of(reading, kind, START + round(minute * MINUTE), f"g1 s {number}"))
    return found


def gap(before: Sequence[tuple[float, Reading]], *readings: tuple[float, Reading]) -> GapFacts:
    return facts_of(START, START + 30 * MINUTE, [*signs(*before), *signs(*readings)])


def every(first: int, last: int, reading: Reading) -> list[tuple[float, Reading]]:
    return [(minute + 0.5, reading) for minute in range(first, last)]


def named(facts: GapFacts, witness: NeighbourWitness = NeighbourWitness()) -> tuple[str, str]:  # noqa: B008
    cause = name_cause(facts, witness)
    return cause.name, cause.grade


def roll(*, on: int = 0, off: int = 0, missing: int = 0, up_minutes: Sequence[float] = ()) -> SeatsReading:
    """A roll call: so many seats on, off and missing of late, and long up or for so many minutes."""
    states: list[Any] = ["healthy"] * (on + len(up_minutes)) + ["off"] * off + ["missing"] * missing
    return SeatsReading(
        seats=SeatColumns(
            id=[f"SEAT-{n}" for n in range(len(states))], state=states, why=[""] * len(states),
            uptime_s=[36_000.0] * on + [60 * up_minute for up_minute in up_minutes] + [None] * (off + missing),
            quiet_s=[None] * (on + len(up_minutes)) + [200.0] * (off + missing),
        )
    )  # fmt: skip


QUIET = [(-0.5, MAINS), (-0.5, LinkReading(fault_place="none"))]


# ---------------------------------------------------------------- last gasps and last words


@pytest.mark.parametrize("gasp", ["battery_low", "runtime_short", "comms_lost"])
def test_a_last_gasp_shows_what_an_unknown_end_was(gasp: Any) -> None:
    last = UpsReading(output_state="battery", battery_status="normal", last_gasp=gasp)
    if gasp == "comms_lost":
        last = UpsReading(failure=Failure("timeout"), last_gasp=gasp)
    facts = gap([(-0.2, last)], (30.0, boot("unknown", 30.2)))
    assert named(facts) == ("ups_exhausted", "shown")
    finding = name_cause(facts).evidence[1]
    assert (finding.code, finding.params["field"], finding.params["word"]) == ("evidence.gasp", "last_gasp", gasp)
    assert named(gap([(-0.2, last)])) == ("ups_exhausted", "likely")  # it is silent still


def test_without_a_last_gasp_an_unknown_end_is_only_likely_the_battery() -> None:
    assert named(gap([(-0.2, BATTERY)], (30.0, boot("unknown", 30.2)))) == ("ups_exhausted", "likely")


def ran_on(seats: int, anew: int) -> Reason:
    """What nine seats say that were called after the gap."""
    return Reason.of("evidence.seats_ran", reading="g1 s 1", n=seats, whole=9, anew=anew)


CLOSING = roll(on=2, off=7)
WORKING = roll(on=9)


def test_a_gateway_that_goes_down_after_its_seats_were_shut_down_was_switched_off() -> None:
    for before, reading in (([(-0.5, CLOSING)], "g1 s 0"), ([(-0.5, MAINS), (-0.5, CLOSING)], "g1 s 1")):
        facts = gap(before, (30.0, boot("power", 30.2)))
        assert named(facts) == ("switched_off", "likely")
        assert name_cause(facts).evidence[1] == Reason.of("evidence.seats_off", reading=reading, n=7, whole=9)
    assert named(gap([(-0.5, CLOSING)])) == ("switched_off", "likely")


def test_seats_that_went_without_a_word_speak_for_the_mains() -> None:
    anew = (32.0, roll(up_minutes=[1.5] * 9))
    assert named(gap([(-0.5, WORKING)], (30.0, boot("power", 30.2)), anew)) == ("ups_exhausted", "likely")
    dead_battery = gap([(-0.5, WORKING), (-0.5, MAINS)], (30.0, boot("power", 30.2)), anew)
    assert named(dead_battery) == ("ups_exhausted", "likely")
    assert name_cause(dead_battery).evidence[2] == ran_on(0, anew=9)


def test_seats_that_ran_on_had_mains_and_the_gateway_alone_went_down() -> None:
    facts = gap([(-0.5, WORKING)], (30.0, boot("power", 30.2)), (32.0, roll(on=9)))
    assert named(facts) == ("unknown", "none")
    assert name_cause(facts).evidence[1] == ran_on(9, anew=0)
    cut = NeighbourWitness(feeder="F", feeder_cut=4, feeder_mains=1)  # they hang on a UPS of their own
    assert named(facts, cut) == ("ups_exhausted", "likely")


def test_neighbours_speak_of_the_start_that_ended_most_of_the_gap_alone() -> None:
    stopped, short = (25.0, boot("clean", 25.0)), (28.0, boot("power", 2.0))
    facts = gap([(-0.5, WORKING)], stopped, short, (32.0, roll(on=9)))
    cut = NeighbourWitness(feeder="F", feeder_cut=4, feeder_mains=1)
    assert named(facts) == named(facts, cut) == ("agent_stopped", "shown")


def test_a_ups_on_battery_is_believed_whatever_the_seats_do() -> None:
    for calls in ([(-0.5, CLOSING)], [(32.0, roll(on=9))]):
        facts = gap([(-0.2, LOW), *calls[:1]], (30.0, boot("power", 30.2)), *calls)
        assert named(facts) == ("ups_exhausted", "shown")


def test_one_seat_alone_says_too_little_and_old_good_byes_say_nothing() -> None:
    assert named(gap([(-0.5, roll(on=0, off=1))], (30.0, boot("power", 30.2)))) == ("ups_exhausted", "likely")
    gone_since_noon = SeatsReading(seats=SeatColumns(id=["a", "b", "c"], state=["off"] * 3, why=[""] * 3))
    assert named(gap([(-0.5, gone_since_noon)], (30.0, boot("power", 30.2)))) == ("ups_exhausted", "likely")


# ---------------------------------------------------------------- the six


def test_a_machine_that_went_down_on_battery_had_its_ups_exhausted() -> None:
    facts = gap([(-0.2, LOW)], (30.0, boot("power", 30.2)), (30.1, MAINS))
    assert named(facts) == ("ups_exhausted", "shown")
    evidence = name_cause(facts).evidence
    assert evidence[0] == Reason.of(
        "evidence.boot_after", reading="g1 s 0", field="previous_end", word="power", dark_s=1812
    )
    assert evidence[1] == Reason.of("evidence.ups_charge", reading="g1 s 0", power="battery_low", charge_pct=4)


def test_a_shutdown_in_order_on_a_low_battery_is_the_battery_s_doing_too() -> None:
    assert named(gap([(-0.2, LOW)], (30.0, boot("reboot", 30.2)))) == ("ups_exhausted", "shown")


def test_a_gateway_that_lost_its_line_first_and_its_battery_later_had_its_ups_exhausted() -> None:
    before = [(-0.5, MAINS)]
    readings = [*every(0, 20, BATTERY), *every(0, 20, place("isp")), (20.0, LOW), (29.9, boot("power", 9.8))]
    assert named(gap(before, *readings)) == ("ups_exhausted", "shown")


def test_an_agent_that_ran_on_battery_all_the_time_was_carried() -> None:
    facts = gap(QUIET, *every(0, 30, BATTERY), *every(0, 30, place("isp")), (30.2, MAINS))
    assert named(facts) == ("mains_carried", "shown")


def test_a_line_with_a_trouble_of_its_own_in_the_midst_of_a_cut_is_the_line_s_trouble() -> None:
    before = [(-0.5, UpsReading(output_state="battery", on_battery_s=3000.0))]
    readings = [*every(0, 30, BATTERY), *every(0, 30, place("isp"))]
    assert named(gap(before, *readings))[0] == "isp_down"
    # The provider's own battery may have lasted for a while; its box came back with the mains.
    assert named(gap(before, *readings, (29.8, MAINS)))[0] == "mains_carried"


def test_a_line_that_fell_before_the_mains_did_not_fall_for_want_of_them() -> None:
    readings = [*every(0, 30, place("lan")), *every(4, 25, BATTERY), (25.6, MAINS)]
    assert named(gap(QUIET, *readings))[0] == "lan_fault"


def test_readings_kept_while_the_provider_was_silent_show_the_line_down() -> None:
    assert named(gap(QUIET, *every(0, 30, MAINS), *every(0, 30, place("isp")))) == ("isp_down", "shown")
    assert named(gap(QUIET, *every(0, 30, place("beyond")))) == ("isp_down", "likely")


@pytest.mark.parametrize("lost", [place("lan"), LinkReading(failure=Failure("no_route", "no default route"))])
def test_readings_kept_while_the_own_router_was_silent_show_a_fault_at_home(lost: LinkReading) -> None:
    assert named(gap(QUIET, *every(0, 30, MAINS), *every(0, 30, lost))) == ("lan_fault", "shown")


def test_a_shutdown_in_order_on_mains_is_a_switch() -> None:
    assert named(gap(QUIET, (30.0, boot("reboot", 30.5)), (30.1, MAINS))) == ("switched_off", "shown")


@pytest.mark.parametrize("end", ["clean", "killed", "crash"])
def test_an_agent_that_ended_while_its_machine_ran_on_was_stopped(end: str) -> None:
    assert named(gap(QUIET, (30.0, boot(end, 30.5)), (30.1, MAINS))) == ("agent_stopped", "shown")


def test_a_short_restart_in_a_long_loss_of_the_line_is_not_its_cause() -> None:
    readings = [*every(0, 30, place("isp")), (15.0, boot("killed", 0.5))]
    assert named(gap(QUIET, *readings)) == ("isp_down", "shown")


# ---------------------------------------------------------------- what cannot be told


def test_a_machine_that_went_down_while_its_ups_had_mains_is_not_explained() -> None:
    cause = name_cause(gap(QUIET, (30.0, boot("power", 30.5))))
    assert (cause.name, cause.grade) == ("unknown", "none")
    assert cause.evidence[1].code == "evidence.lost_with_power"


def test_nothing_known_is_unknown_and_says_so() -> None:
    cause = name_cause(gap([]))
    assert (cause.name, cause.grade) == ("unknown", "none")
    assert cause.evidence == (Reason("evidence.nothing_taken"),)


def test_an_old_reading_of_the_ups_says_nothing_about_the_gap() -> None:
    assert named(gap([(-30.0, LOW)])) == ("unknown", "none")


def test_a_line_that_was_well_by_the_time_of_return_says_nothing_about_the_gap() -> None:
    assert named(gap(QUIET, (29.0, LinkReading(fault_place="none")))) == ("unknown", "none")
    whole = gap(QUIET, *every(0, 30, LinkReading(fault_place="none")))
    assert named(whole) == ("collector", "likely")


def test_while_it_lasts_the_last_words_and_the_neighbours_are_all_there_is() -> None:
    assert named(gap([(-0.5, LOW)])) == ("ups_exhausted", "likely")
    assert named(gap([(-0.5, place("lan"))])) == ("lan_fault", "likely")
    assert named(gap(QUIET), NeighbourWitness(isp="A", isp_silent=4, isp_heard=1)) == ("isp_down", "likely")
    assert named(gap(QUIET), NeighbourWitness(feeder="F", feeder_cut=4, feeder_mains=1)) == ("ups_exhausted", "likely")


# ---------------------------------------------------------------- neighbours


EXHAUSTED = gap([(-0.2, LOW)], (30.0, boot("power", 30.2)))


def test_eleven_of_twelve_with_mains_make_a_claim_unsupported() -> None:
    cause = name_cause(EXHAUSTED, NeighbourWitness(feeder="F7", feeder_cut=1, feeder_mains=11, feeder_named=("LHR-2",)))
    assert (cause.name, cause.grade) == ("ups_exhausted", "unsupported")
    others = Reason.of("evidence.feeder_mains", n=11, whole=12, feeder="F7")
    assert cause.evidence[-1] == Reason.of("evidence.named", found=others, centers=["LHR-2"])


def test_most_of_the_feeder_dark_confirms_the_claim() -> None:
    assert named(EXHAUSTED, NeighbourWitness(feeder="F7", feeder_cut=9, feeder_mains=3)) == (
        "ups_exhausted",
        "confirmed",
    )


def test_two_neighbours_are_too_few_to_contradict() -> None:
    assert named(EXHAUSTED, NeighbourWitness(feeder="F7", feeder_cut=0, feeder_mains=2)) == ("ups_exhausted", "shown")


def test_a_claim_of_power_without_any_ups_needs_its_neighbours() -> None:
    claim = gap([], (30.0, boot("power", 30.5)))
    assert named(claim) == ("ups_exhausted", "likely")
    assert named(claim, NeighbourWitness(feeder="F", feeder_mains=5)) == ("ups_exhausted", "unsupported")


def test_others_heard_on_the_same_provider_make_it_the_own_line() -> None:
    facts = gap(QUIET, *every(0, 30, place("isp")))
    assert named(facts, NeighbourWitness(isp="A", isp_silent=5, isp_heard=1)) == ("isp_down", "confirmed")
    alone = name_cause(facts, NeighbourWitness(isp="A", isp_silent=0, isp_heard=6))
    assert (alone.name, alone.grade) == ("isp_down", "shown")
    assert alone.evidence[-1].code == "evidence.isp_heard"


def test_those_on_the_same_exchange_are_named_by_it() -> None:
    facts = gap(QUIET, *every(0, 30, place("isp")))
    for silent, code in ((5, "evidence.exchange_silent"), (0, "evidence.exchange_heard")):
        cause = name_cause(facts, NeighbourWitness(isp="A", exchange="X", isp_silent=silent, isp_heard=5 - silent))
        assert cause.evidence[-1].code == code


def test_a_deaf_collector_accuses_nobody_unless_the_center_s_own_readings_tell_otherwise() -> None:
    deaf = NeighbourWitness(deaf_ms=25 * MINUTE)
    assert named(gap(QUIET), deaf) == ("collector", "shown")
    assert named(gap(QUIET, *every(0, 30, place("lan"))), deaf) == ("lan_fault", "shown")


# ---------------------------------------------------------------- of all


ends = st.sampled_from(["first", "clean", "power", "crash", "killed", "reboot", "unknown", "nonsense"])
counts = st.integers(0, 20)
any_reading = st.one_of(
    st.builds(boot, ends, st.none() | st.floats(-10, 90)),
    st.sampled_from([MAINS, BATTERY, LOW, UpsReading(failure=Failure("timeout")), SeatsReading(known=3)]),
    st.builds(place, st.sampled_from(["lan", "isp", "beyond", "none", None])),
)
story = st.lists(st.tuples(st.floats(-5, 40), any_reading), max_size=30)
witnesses = st.builds(
    NeighbourWitness,
    feeder_cut=counts,
    feeder_mains=counts,
    isp_silent=counts,
    isp_heard=counts,
    deaf_ms=st.integers(0, 10**7),
)


@given(story, story, witnesses)
def test_any_story_has_one_cause_with_evidence(before: Any, readings: Any, witness: NeighbourWitness) -> None:
    cause = name_cause(gap(before, *readings), witness)
    assert cause.name in NAMES
    assert cause.grade in GRADES
    assert decode_all(encode_all(cause.evidence)) == cause.evidence
    assert (cause.name == "unknown") == (cause.grade == "none")
    assert cause.evidence or cause.grade == "likely"


@given(story, st.integers(0, 30))
def test_readings_may_come_in_any_number_of_batches(readings: Any, cut: int) -> None:
    some = signs(*QUIET, *readings)
    empty = GapFacts(from_ms=START, to_ms=START + 30 * MINUTE)
    whole = fold(empty, some)
    assert fold(fold(empty, some[:cut]), some[cut:]) == whole
    assert fold(fold(empty, some[cut:]), reversed(some[:cut])) == whole
    assert facts_of(START, START + 30 * MINUTE, some[::-1]) == facts_of(START, START + 30 * MINUTE, some)


@given(story, witnesses)
@example([(15.0, boot("clean", None)), (15.0, boot("power", 15.0))], NeighbourWitness(feeder_cut=1))
@example([(10.0, boot("power", 2.0)), (29.0, boot("clean", 18.0))], NeighbourWitness(feeder_cut=3))
def test_neighbours_change_how_sure_a_shown_cause_is_never_what_it_is(readings: Any, witness: NeighbourWitness) -> None:
    alone = name_cause(gap(QUIET, *readings))
    if alone.grade == "shown":
        assert name_cause(gap(QUIET, *readings), witness).name == alone.name


# ---------------------------------------------------------------- who stood in the way


@pytest.mark.parametrize("word", ["portal", "dns", "filtered", "mtu"])
@pytest.mark.parametrize(("loss_pct", "where"), [(100.0, "isp"), (0.0, "none")])
def test_what_stood_in_the_way_is_the_cause_and_never_our_collector(word: str, loss_pct: float, where: Any) -> None:
    seen = LinkReading(loss_pct=loss_pct, fault_place=where, causes=[word])
    cause = name_cause(gap(QUIET, *every(0, 30, seen)))
    assert (cause.name, cause.grade) == (word, "shown")
    assert [reason.code for reason in cause.evidence] == ["evidence.line_cause"]


def test_a_portal_that_is_found_now_and_then_still_explains_a_line_without_a_fault() -> None:
    well, seen = LinkReading(fault_place="none"), LinkReading(fault_place="none", causes=["portal"])
    assert named(gap(QUIET, *every(0, 25, well), *every(25, 30, seen))) == ("portal", "shown")


def test_one_reading_of_a_portal_does_not_excuse_a_line_that_was_down() -> None:
    seen = LinkReading(loss_pct=100.0, fault_place="isp", causes=["portal"])
    assert named(gap(QUIET, *every(0, 28, place("isp")), *every(28, 29, seen)))[0] == "isp_down"


@pytest.mark.parametrize("word", ["ipv6_dead", "ipv4_dead", "x" * 64])
def test_other_words_of_a_line_explain_no_gap(word: str) -> None:
    seen = LinkReading(loss_pct=100.0, fault_place="isp", causes=[word])
    assert named(gap(QUIET, *every(0, 30, seen)))[0] == "isp_down"


@pytest.mark.parametrize(
    ("before", "guess", "alive"),
    [
        (QUIET, "unknown", "isp_down"),
        ([(-0.5, LOW)], "ups_exhausted", "mains_carried"),
        ([(-0.5, place("lan"))], "lan_fault", "lan_fault"),
        ([(-0.5, roll(off=9))], "switched_off", "isp_down"),
    ],
)
def test_a_gateway_that_is_alive_by_a_second_path_has_power(
    before: Sequence[tuple[float, Reading]], guess: str, alive: str
) -> None:
    facts = gap(before)
    assert named(facts)[0] == guess
    cause = name_cause(replace(facts, alive_ms=START + 20 * MINUTE))
    assert (cause.name, cause.grade) == (alive, "likely")
    assert cause.evidence[0] == Reason.of("evidence.second_path", alive_s=600)
    behind = name_cause(replace(facts, alive_ms=START + 20 * MINUTE, clock_off_s=-18_000))
    assert (behind.name, behind.evidence[1]) == (alive, Reason.of("evidence.clock_behind", off_s=18_000))


POWER = st.builds(
    UpsReading,
    output_state=st.sampled_from(("online", "battery")),
    on_battery_s=st.sampled_from((0, 30, 400)),
    battery_charge_pct=st.sampled_from((None, 60.0, 100.0)),
)


@given(
    st.lists(st.tuples(st.integers(-4, 32), POWER), min_size=2, max_size=20, unique_by=lambda one: one[0]), st.data()
)
def test_a_reading_that_is_said_to_move_no_run_moves_none(told: list[tuple[int, UpsReading]], data: Any) -> None:
    """Mains readings within a run on mains are nearly all that a long backlog brings: the others need not be read again
    for them."""
    known = signs(*told)
    late = known.pop(data.draw(st.integers(0, len(known) - 1)))
    facts = facts_of(START, START + 30 * MINUTE, known)
    if not moves_runs(facts, late):
        assert runs_of([*known, late], facts.from_ms, facts.to_ms) == facts.power


@given(
    st.lists(st.tuples(st.integers(-4, 36), POWER), min_size=2, max_size=20, unique_by=lambda one: one[0]), st.data()
)
def test_runs_that_are_told_without_the_others_are_those_of_all(told: list[tuple[int, UpsReading]], data: Any) -> None:
    """What comes a minute after the other once a center is back lengthens its last run or begins another one."""
    whole = signs(*told)
    late = [whole.pop(data.draw(st.integers(0, len(whole) - 1))) for _ in range(data.draw(st.integers(1, len(whole))))]
    facts = facts_of(START, START + 30 * MINUTE, whole)
    if (known := with_runs(facts, late)) is not None:
        assert known.power == runs_of([*whole, *late], facts.from_ms, facts.to_ms)


def test_minutes_after_a_gap_need_no_reading_of_what_is_within() -> None:
    facts = gap([(-1, MAINS)], *every(0, 29, MAINS))
    known = with_runs(facts, signs((30.2, MAINS), (30.5, BATTERY)))
    assert known is not None
    assert [run.on_battery for run in known.power[""]] == [False, True]
    assert with_runs(facts, signs((12, BATTERY))) is None


def test_a_backlog_on_mains_moves_no_run_and_a_cut_within_does() -> None:
    facts = gap([(-1, MAINS)], (30.5, MAINS))
    assert not any(moves_runs(facts, sign) for sign in signs(*every(0, 29, MAINS)))
    assert moves_runs(facts, signs((12, BATTERY))[0])
