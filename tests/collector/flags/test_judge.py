"""One reading against one criterion: which verdict, and the reason in words."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from agent.wire import Failure, GatewayReading, LinkReading, SeatsReading, SpeedReading, UpsReading
from collector.flags.judge import bound_of, judge, show
from collector.flags.witness import Witness
from collector.standard import example
from collector.standard.criteria import Silence

ASKED = example().by_id
WITNESSED = ASKED["internet.download"]
DOWNLOAD = replace(WITNESSED, evidence="signed")


@dataclass(frozen=True)
class Promised:
    tier: str = "three"
    seats_promised: int = 20


CENTER = Promised()


def test_a_speed_over_the_bound_meets_and_says_what_was_asked() -> None:
    verdict = judge(DOWNLOAD, SpeedReading(download_mbps=16.5), CENTER)
    assert (verdict.word, verdict.value, verdict.bound) == ("meets", 16.5, 16.0)
    assert verdict.reason == "16.5 Mbit/s; at least 16 Mbit/s is asked (80 % of 20 Mbit/s)"


def test_the_bound_itself_meets() -> None:
    assert judge(DOWNLOAD, SpeedReading(download_mbps=16.0), CENTER).word == "meets"
    assert judge(DOWNLOAD, SpeedReading(download_mbps=15.999), CENTER).word == "below"
    assert judge(ASKED["internet.latency"], LinkReading(rtt_median_ms=100.0), CENTER).word == "meets"
    assert judge(ASKED["internet.latency"], LinkReading(rtt_median_ms=100.1), CENTER).word == "below"


def test_meeting_is_not_yet_recovering() -> None:
    assert not judge(DOWNLOAD, SpeedReading(download_mbps=17.9), CENTER).recovers
    assert judge(DOWNLOAD, SpeedReading(download_mbps=18.0), CENTER).recovers
    assert not judge(ASKED["internet.latency"], LinkReading(rtt_median_ms=95.0), CENTER).recovers
    assert judge(ASKED["internet.latency"], LinkReading(rtt_median_ms=90.0), CENTER).recovers


def test_many_seats_ask_for_more_than_the_tier() -> None:
    assert bound_of(DOWNLOAD, Promised("three", 50)) == 40.0
    assert bound_of(DOWNLOAD, Promised("one", 10)) == 40.0
    assert bound_of(ASKED["power.protected"], CENTER) is None


def test_capacity_counts_before_what_was_left_of_it() -> None:
    busy = SpeedReading(download_mbps=4.0, capacity_down_mbps=21.0)
    assert judge(DOWNLOAD, busy, CENTER).value == 21.0


@pytest.mark.parametrize("engine", ["ndt7", "ookla", "iperf3", "of_next_year"])
def test_only_the_engine_of_record_counts_and_another_is_named(engine: str) -> None:
    for criterion in (DOWNLOAD, ASKED["internet.upload"]):
        verdict = judge(criterion, SpeedReading(download_mbps=900.0, upload_mbps=900.0, engine=engine), CENTER)
        assert (verdict.word, verdict.reason) == ("unknown", f"not counted: engine is {engine}")
    assert judge(DOWNLOAD, SpeedReading(download_mbps=900.0, engine="librespeed"), CENTER).word == "meets"
    assert (
        judge(replace(DOWNLOAD, ignore={}), SpeedReading(download_mbps=900.0, engine="ndt7"), CENTER).word == "unknown"
    )


@pytest.mark.parametrize("ignore", [DOWNLOAD.ignore, {}])
def test_a_self_test_never_counts_whatever_the_standard_says(ignore: dict[str, frozenset[str]]) -> None:
    criterion = replace(DOWNLOAD, ignore=ignore)
    verdict = judge(criterion, SpeedReading(download_mbps=900.0, purpose="self-test"), CENTER)
    assert (verdict.word, verdict.reason) == ("unknown", "a self-test never counts")


def test_a_reading_with_an_ignored_flag_does_not_count() -> None:
    verdict = judge(DOWNLOAD, SpeedReading(download_mbps=900.0, flags=["capped", "implausible"]), CENTER)
    assert (verdict.word, verdict.reason) == ("unknown", "not counted: flags is implausible")


def test_a_lower_bound_can_meet_but_not_fall_short() -> None:
    assert judge(DOWNLOAD, SpeedReading(download_mbps=30.0, flags=["not_saturated"]), CENTER).word == "meets"
    verdict = judge(DOWNLOAD, SpeedReading(download_mbps=3.0, flags=["not_saturated"]), CENTER)
    assert verdict.word == "unknown"
    assert verdict.reason.endswith("but the reading is not_saturated, so it proves no shortfall")


def test_a_figure_without_a_witness_is_unknown_and_says_why() -> None:
    said = Witness(word="no_record", reason="no server record came within 15 minutes")
    for witness, why in ((None, "unwitnessed: no server was asked"), (said, f"no_record: {said.reason}")):
        verdict = judge(WITNESSED, SpeedReading(download_mbps=900.0), CENTER, witness)
        assert (verdict.word, verdict.reason) == ("unknown", f"not witnessed: {why}")


def test_no_more_counts_than_the_witness_credits() -> None:
    agrees = Witness(word="agrees", reason="", most=(("download_mbps", 16.0), ("capacity_down_mbps", 18.0)))
    assert judge(WITNESSED, SpeedReading(download_mbps=16.5), CENTER, agrees).value == 16.0
    full = SpeedReading(download_mbps=16.5, capacity_down_mbps=40.0)
    assert judge(WITNESSED, full, CENTER, agrees).value == 18.0


def test_a_figure_that_is_cut_proves_no_shortfall() -> None:
    agrees = Witness(word="agrees", reason="", most=(("download_mbps", 5.0), ("capacity_down_mbps", 10.0)))
    claimed = judge(WITNESSED, SpeedReading(download_mbps=5.0, capacity_down_mbps=40.0), CENTER, agrees)
    assert (claimed.word, claimed.value) == ("unknown", 10.0)
    assert claimed.reason.endswith("but 40 Mbit/s is claimed, so it proves no shortfall")
    slow = judge(WITNESSED, SpeedReading(download_mbps=5.0, capacity_down_mbps=9.0), CENTER, agrees)
    assert (slow.word, slow.value) == ("below", 9.0)


def test_a_failed_measurement_is_unknown_and_says_the_cause() -> None:
    failed = SpeedReading(failure=Failure("unreachable", "no server answered"))
    verdict = judge(DOWNLOAD, failed, CENTER)
    assert (verdict.word, verdict.reason) == ("unknown", "the measurement failed: unreachable")


def test_a_value_that_is_not_reported_is_unknown() -> None:
    verdict = judge(ASKED["power.backup"], UpsReading(output_state="online"), CENTER)
    assert (verdict.word, verdict.reason) == ("unknown", "the reading has no runtime_s")


def test_zero_is_a_value() -> None:
    assert judge(DOWNLOAD, SpeedReading(download_mbps=0.0), CENTER).word == "below"
    assert judge(ASKED["internet.loss"], LinkReading(loss_pct=0.0), CENTER).word == "meets"


def test_a_ups_that_does_not_answer_is_below() -> None:
    asked = ASKED["power.on_ups"]
    assert judge(asked, UpsReading(failure=Failure("timeout")), CENTER).word == "below"
    assert judge(asked, UpsReading(output_state="battery"), CENTER).word == "meets"


def test_backup_time_is_judged_on_mains_only() -> None:
    asked = ASKED["power.backup"]
    assert judge(asked, UpsReading(output_state="battery", runtime_s=60.0), CENTER).word == "unknown"
    assert judge(asked, UpsReading(output_state="online", runtime_s=60.0), CENTER).word == "below"
    assert judge(asked, UpsReading(runtime_s=60.0), CENTER).reason == "not counted: output_state is not known"


@pytest.mark.parametrize(
    ("criterion", "reading", "word"),
    [
        ("power.protected", UpsReading(output_state="bypass"), "below"),
        ("power.protected", UpsReading(output_state="battery"), "meets"),
        ("power.protected", UpsReading(), "unknown"),
        ("power.battery", UpsReading(battery_replace=True), "below"),
        ("power.battery", UpsReading(battery_replace=False), "meets"),
        ("power.battery", UpsReading(), "unknown"),
        ("power.battery_low", UpsReading(battery_status="depleted"), "below"),
    ],
)
def test_words_are_compared_too(criterion: str, reading: UpsReading, word: str) -> None:
    assert judge(ASKED[criterion], reading, CENTER).word == word


def test_one_of_is_the_other_way_about() -> None:
    asked = replace(ASKED["power.protected"], compare="one_of", words=frozenset({"online", "eco"}))
    assert judge(asked, UpsReading(output_state="eco"), CENTER).word == "meets"
    verdict = judge(asked, UpsReading(output_state="off"), CENTER)
    assert (verdict.word, verdict.reason) == ("below", "output_state is off; one of eco, online is asked")


def test_seats_are_held_against_those_promised_not_those_known() -> None:
    asked = ASKED["seats.usable"]
    verdict = judge(asked, SeatsReading(known=10, healthy=10, unhealthy=0, missing=0, off=0), CENTER)
    assert (verdict.word, verdict.value) == ("below", 50.0)
    assert judge(asked, SeatsReading(healthy=18), CENTER).word == "meets"
    assert judge(asked, SeatsReading(healthy=18), Promised(seats_promised=0)).word == "unknown"
    assert judge(asked, SeatsReading(), CENTER).word == "unknown"


def test_seats_switched_off_in_order_count_where_a_standard_says_so() -> None:
    asked = replace(ASKED["seats.usable"], fields=("ready_of_promised_pct",))
    assert judge(asked, SeatsReading(healthy=10, off=8), CENTER).value == 90.0


def test_a_clock_may_be_off_either_way() -> None:
    assert judge(ASKED["gateway.clock"], GatewayReading(clock_offset_ms=-5000.0), CENTER).word == "below"
    assert judge(ASKED["gateway.clock"], GatewayReading(clock_offset_ms=1999.0), CENTER).word == "meets"


def test_silence_is_judged_like_any_reading() -> None:
    assert judge(ASKED["presence.silent"], Silence(900.0), CENTER).word == "meets"
    assert judge(ASKED["presence.silent"], Silence(901.0), CENTER).word == "below"


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0.0, "0"), (3.14159, "3.14"), (16.04, "16"), (99.95, "100"), (1234.5, "1234"), (-0.5, "-0.5")],
)
def test_numbers_are_shown_as_people_write_them(number: float, shown: str) -> None:
    assert show(number) == shown
