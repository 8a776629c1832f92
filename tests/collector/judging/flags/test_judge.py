"""One reading against one criterion: which verdict, and the reason as a code."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from agent.common.reasons import Reason
from agent.common.words import plain
from agent.wire import Failure, GatewayReading, LinkReading, SeatsReading, SpeedReading, UpsReading
from collector.judging.flags.judge import bound_of, judge
from collector.judging.flags.witness import Witness
from collector.standard.criteria import Silence
from tests.collector.standard.timeless import timeless

ASKED = timeless().by_id
WITNESSED = ASKED["internet.download"]
DOWNLOAD = replace(WITNESSED, evidence="signed")


@dataclass(frozen=True)
class Promised:
    tier: str = "three"
    seats_promised: int = 20


CENTER = Promised()


def not_counted(field: str, word: str) -> Reason:
    return Reason.of("verdict.not_counted", field=field, word=word)


def test_a_speed_over_the_bound_meets_and_says_what_was_asked() -> None:
    verdict = judge(DOWNLOAD, SpeedReading(download_mbps=16.5), CENTER)
    assert (verdict.word, verdict.value, verdict.bound) == ("meets", 16.5, 16.0)
    figures = {"value": 16.5, "bound": 16.0, "unit": "Mbit/s", "share_pct": 80.0, "whole": 20.0}
    assert verdict.reason == Reason("verdict.share_at_least", figures)
    assert plain().reason(verdict.reason) == "16.5 Mbit/s; at least 16 Mbit/s required (80 % of 20 Mbit/s)"


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
        assert (verdict.word, verdict.reason) == ("unknown", not_counted("engine", engine))
    assert judge(DOWNLOAD, SpeedReading(download_mbps=900.0, engine="librespeed"), CENTER).word == "meets"
    assert (
        judge(replace(DOWNLOAD, ignore={}), SpeedReading(download_mbps=900.0, engine="ndt7"), CENTER).word == "unknown"
    )


@pytest.mark.parametrize("ignore", [DOWNLOAD.ignore, {}])
def test_a_self_test_never_counts_whatever_the_standard_says(ignore: dict[str, frozenset[str]]) -> None:
    criterion = replace(DOWNLOAD, ignore=ignore)
    verdict = judge(criterion, SpeedReading(download_mbps=900.0, purpose="self-test"), CENTER)
    assert (verdict.word, verdict.reason) == ("unknown", Reason("verdict.self_test"))


def test_a_reading_with_an_ignored_flag_does_not_count() -> None:
    verdict = judge(DOWNLOAD, SpeedReading(download_mbps=900.0, flags=["capped", "implausible"]), CENTER)
    assert (verdict.word, verdict.reason) == ("unknown", not_counted("flags", "implausible"))


def test_a_lower_bound_can_meet_but_not_fall_short() -> None:
    assert judge(DOWNLOAD, SpeedReading(download_mbps=30.0, flags=["not_saturated"]), CENTER).word == "meets"
    verdict = judge(DOWNLOAD, SpeedReading(download_mbps=3.0, flags=["not_saturated"]), CENTER)
    assert verdict.word == "unknown"
    assert verdict.reason.code == "verdict.lower_bound"
    assert verdict.reason.params["word"] == "not_saturated"


def test_a_figure_without_a_witness_is_unknown_and_says_why() -> None:
    opinion = Witness(word="no_record", reason=Reason.of("witness.no_record", within_s=900))
    for witness, why in ((None, Reason("witness.not_asked")), (opinion, opinion.reason)):
        verdict = judge(WITNESSED, SpeedReading(download_mbps=900.0), CENTER, witness)
        assert (verdict.word, verdict.reason) == ("unknown", why)


def test_no_more_counts_than_the_witness_credits() -> None:
    agrees = Witness(
        word="agrees", reason=Reason("witness.agrees"), most=(("download_mbps", 16.0), ("capacity_down_mbps", 18.0))
    )
    assert judge(WITNESSED, SpeedReading(download_mbps=16.5), CENTER, agrees).value == 16.0
    full = SpeedReading(download_mbps=16.5, capacity_down_mbps=40.0)
    assert judge(WITNESSED, full, CENTER, agrees).value == 18.0


def test_a_figure_that_is_cut_proves_no_shortfall() -> None:
    agrees = Witness(
        word="agrees", reason=Reason("witness.agrees"), most=(("download_mbps", 5.0), ("capacity_down_mbps", 10.0))
    )
    claimed = judge(WITNESSED, SpeedReading(download_mbps=5.0, capacity_down_mbps=40.0), CENTER, agrees)
    assert (claimed.word, claimed.value) == ("unknown", 10.0)
    assert (claimed.reason.code, claimed.reason.params["value"]) == ("verdict.claimed", 40.0)
    slow = judge(WITNESSED, SpeedReading(download_mbps=5.0, capacity_down_mbps=9.0), CENTER, agrees)
    assert (slow.word, slow.value) == ("below", 9.0)


def test_a_failed_measurement_is_unknown_and_says_the_cause() -> None:
    failed = SpeedReading(failure=Failure("unreachable", "no server answered"))
    verdict = judge(DOWNLOAD, failed, CENTER)
    assert (verdict.word, verdict.reason) == ("unknown", Reason.of("verdict.failed", cause="unreachable"))


def test_a_value_that_is_not_reported_is_unknown() -> None:
    verdict = judge(ASKED["power.backup"], UpsReading(output_state="online"), CENTER)
    assert (verdict.word, verdict.reason) == ("unknown", Reason.of("verdict.absent", fields=["runtime_s"]))


def test_zero_is_a_value() -> None:
    assert judge(DOWNLOAD, SpeedReading(download_mbps=0.0), CENTER).word == "below"
    assert judge(ASKED["internet.loss"], LinkReading(loss_pct=0.0), CENTER).word == "meets"


def test_a_ups_that_does_not_answer_is_below() -> None:
    rule = ASKED["power.on_ups"]
    assert judge(rule, UpsReading(failure=Failure("timeout")), CENTER).word == "below"
    assert judge(rule, UpsReading(output_state="battery"), CENTER).word == "meets"


def test_backup_time_is_judged_on_mains_only() -> None:
    rule = ASKED["power.backup"]
    assert judge(rule, UpsReading(output_state="battery", runtime_s=60.0), CENTER).word == "unknown"
    assert judge(rule, UpsReading(output_state="online", runtime_s=60.0), CENTER).word == "below"
    assert judge(rule, UpsReading(runtime_s=60.0), CENTER).reason == Reason.of(
        "verdict.not_counted_unknown", field="output_state"
    )


@pytest.mark.parametrize(
    ("criterion", "reading", "word"),
    [
        ("power.protected", UpsReading(output_state="bypass"), "below"),
        ("power.protected", UpsReading(output_state="battery"), "meets"),
        ("power.protected", UpsReading(), "unknown"),
        ("power.battery", UpsReading(battery_replace=True), "below"),
        ("power.battery", UpsReading(battery_replace=False), "meets"),
        ("power.battery", UpsReading(), "unknown"),
        ("power.battery_low", UpsReading(battery_status="depleted", output_state="battery"), "below"),
        ("power.battery_low", UpsReading(battery_status="depleted", output_state="online"), "meets"),
        ("power.battery_fault", UpsReading(battery_status="fault"), "below"),
    ],
)
def test_words_are_compared_too(criterion: str, reading: UpsReading, word: str) -> None:
    assert judge(ASKED[criterion], reading, CENTER).word == word


def test_one_of_is_the_other_way_about() -> None:
    rule = replace(ASKED["power.protected"], compare="one_of", words=frozenset({"online", "eco"}))
    assert judge(rule, UpsReading(output_state="eco"), CENTER).word == "meets"
    verdict = judge(rule, UpsReading(output_state="off"), CENTER)
    assert (verdict.word, verdict.reason) == ("below", Reason.of("verdict.word", field="output_state", word="off"))


def test_seats_are_held_against_those_promised_not_those_known() -> None:
    rule = ASKED["seats.usable"]
    verdict = judge(rule, SeatsReading(known=10, healthy=10, unhealthy=0, missing=0, off=0), CENTER)
    assert (verdict.word, verdict.value) == ("below", 50.0)
    assert judge(rule, SeatsReading(healthy=18), CENTER).word == "meets"
    assert judge(rule, SeatsReading(healthy=18), Promised(seats_promised=0)).word == "unknown"
    assert judge(rule, SeatsReading(), CENTER).word == "unknown"


def test_seats_switched_off_in_order_count_where_a_standard_says_so() -> None:
    rule = replace(ASKED["seats.usable"], fields=("ready_of_promised_pct",))
    assert judge(rule, SeatsReading(healthy=10, off=8), CENTER).value == 90.0


def test_a_clock_may_be_off_either_way() -> None:
    assert judge(ASKED["gateway.clock"], GatewayReading(clock_offset_ms=-5000.0), CENTER).word == "below"
    assert judge(ASKED["gateway.clock"], GatewayReading(clock_offset_ms=1999.0), CENTER).word == "meets"


def test_silence_is_judged_like_any_reading() -> None:
    assert judge(ASKED["presence.silent"], Silence(900.0), CENTER).word == "meets"
    assert judge(ASKED["presence.silent"], Silence(901.0), CENTER).word == "below"


def test_a_ups_that_answers_or_not_is_said_in_words() -> None:
    verdicts = [judge(ASKED["power.on_ups"], UpsReading(failure=failed), CENTER) for failed in (None, Failure("x"))]
    assert [verdict.reason.params["word"] for verdict in verdicts] == ["yes", "no"]


def test_a_count_without_a_unit_is_named() -> None:
    rule = replace(ASKED["internet.loss"], reading="ups", fields=("alarms_count",), unit="")
    reason = judge(rule, UpsReading(alarms_count=3), CENTER).reason
    assert plain().reason(reason) == "alarms: 3; at most 2 allowed"


def test_a_test_that_was_left_out_is_no_failure() -> None:
    left_out = SpeedReading(failure=Failure("skipped_budget"))
    assert judge(DOWNLOAD, left_out, CENTER).reason == Reason.of("verdict.not_made", cause="skipped_budget")
