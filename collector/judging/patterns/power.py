"""What power supplies say that no real ones do. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from agent.common.reasons import Reason
from collector.judging.patterns.limits import RULES, PatternFinding, PatternRules

MINUTE_MS = 60_000


@dataclass(frozen=True, kw_only=True)
class UpsValues:
    at_ms: int
    subject: str
    state: str | None
    volts: float | None = None
    load_pct: float | None = None
    runtime_s: float | None = None


def ups_patterns(
    values: Iterable[UpsValues], working_ms: Iterable[int], rules: PatternRules = RULES
) -> Iterator[tuple[PatternFinding, Reason]]:
    """What each UPS of a center says of a day. `working_ms` are the minutes in which seats were at work."""
    by_subject: dict[str, list[UpsValues]] = defaultdict(list)
    for value in values:
        by_subject[value.subject].append(value)
    working = {at_ms // MINUTE_MS for at_ms in working_ms}
    for subject, mine in sorted(by_subject.items()):
        mains = [one for one in mine if one.state == "online" and one.volts is not None]
        if len(mains) >= rules.frozen and len({(one.volts, one.load_pct, one.runtime_s) for one in mains}) == 1:
            yield "ups_frozen", Reason.of("pattern.ups_frozen", subject=subject, n=len(mains))
        beside = [one for one in mine if one.load_pct is not None and one.at_ms // MINUTE_MS in working]
        if len(beside) >= rules.unloaded and max(one.load_pct or 0.0 for one in beside) < rules.unloaded_pct:
            yield "ups_unloaded", Reason.of("pattern.ups_unloaded", subject=subject, n=len(beside))


def never_cut(cuts: Mapping[str, int], feeders: Mapping[str, str], rules: PatternRules = RULES) -> dict[str, Reason]:
    """Centers without a cut in a time in which enough others on their feeder had some. `cuts` has every center whose
    UPS was read, with how many cuts it went through."""
    by_feeder: dict[str, list[str]] = defaultdict(list)
    for center in cuts:
        if feeders.get(center):
            by_feeder[feeders[center]].append(center)
    by_center = {}
    for feeder, centers in by_feeder.items():
        cut = sorted((cuts[center] for center in centers if cuts[center]), reverse=True)
        if len(cut) < rules.neighbours:
            continue
        usual = cut[len(cut) // 2]
        for center in centers:
            if not cuts[center] and usual >= rules.cuts:
                by_center[center] = Reason.of("pattern.ups_never_cut", n=usual, feeder=feeder)
    return by_center


def contradicted(deaths_ms: Iterable[int], values: Sequence[UpsValues], rules: PatternRules = RULES) -> Reason | None:
    """A gateway that died of a power cut just after its UPS had plenty left."""
    count = 0
    for at_ms in deaths_ms:
        last = max((one for one in values if at_ms - 5 * MINUTE_MS <= one.at_ms <= at_ms), key=lambda one: one.at_ms,
                   default=None)  # fmt: skip
        count += last is not None and (last.runtime_s or 0.0) >= rules.plenty_s
    return Reason.of("pattern.ups_contradicted", n=count) if count else None
