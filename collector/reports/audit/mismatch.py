"""What an audit finds: one kind for each way in which stored rows can differ from what the signed bytes give. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from agent.common.reasons import Param, Reason

MismatchKind = Literal[
    # who signed
    "key_replaced",
    # the batches as received
    "bad_signature", "batch_unreadable", "batch_field", "batch_order", "chain_broken", "batches_missing",
    # the rows derived of them
    "reading_differs", "reading_missing", "reading_added",
    # what measurement servers signed
    "record_forged", "record_missing",
    # what people recorded
    "fact_edited", "fact_missing", "calendar_edited", "calendar_missing", "standard_edited", "decision_edited",
    "decision_missing", "dispute_edited", "dispute_missing", "adoption_edited", "adoption_missing",
    "inspection_edited", "inspection_missing", "attachment_edited", "attachment_missing",
    # the transparency log
    "day_evidence", "log_altered",
    # what is made of all this
    "sheet_missing", "sheet_differs", "exclusion_dropped", "report_edited", "report_missing", "report_differs",
]  # fmt: skip
KINDS: tuple[MismatchKind, ...] = get_args(MismatchKind)  # in the order of causes: the first explains the later
CODES: Mapping[MismatchKind, str] = {
    "key_replaced": "audit.key_replaced",
    "bad_signature": "audit.bad_signature",
    "batch_unreadable": "audit.batch_unreadable",
    "batch_field": "audit.batch_field",
    "batch_order": "audit.batch_order",
    "chain_broken": "audit.chain_broken",
    "batches_missing": "audit.batches_missing",
    "reading_differs": "audit.reading_differs",
    "reading_missing": "audit.reading_missing",
    "reading_added": "audit.reading_added",
    "record_forged": "audit.record_forged",
    "record_missing": "audit.record_missing",
    "fact_edited": "audit.fact_edited",
    "fact_missing": "audit.fact_missing",
    "calendar_edited": "audit.calendar_edited",
    "calendar_missing": "audit.calendar_missing",
    "standard_edited": "audit.standard_edited",
    "decision_edited": "audit.decision_edited",
    "decision_missing": "audit.decision_missing",
    "dispute_edited": "audit.dispute_edited",
    "dispute_missing": "audit.dispute_missing",
    "adoption_edited": "audit.adoption_edited",
    "adoption_missing": "audit.adoption_missing",
    "inspection_edited": "audit.inspection_edited",
    "inspection_missing": "audit.inspection_missing",
    "attachment_edited": "audit.attachment_edited",
    "attachment_missing": "audit.attachment_missing",
    "day_evidence": "audit.day_evidence",
    "log_altered": "audit.log_altered",
    "sheet_missing": "audit.sheet_missing",
    "sheet_differs": "audit.sheet_differs",
    "exclusion_dropped": "audit.exclusion_dropped",
    "report_edited": "audit.report_edited",
    "report_missing": "audit.report_missing",
    "report_differs": "audit.report_differs",
}

LISTED = 5  # of each kind; all are counted


@dataclass(frozen=True)
class Mismatch:
    """One thing that is not as the evidence has it."""

    kind: MismatchKind
    reason: Reason

    @classmethod
    def of(cls, kind: MismatchKind, /, **params: Param) -> Mismatch:
        return cls(kind, Reason(CODES[kind], params))


@dataclass
class Mismatches:
    """All of them counted by kind, and the first few of each kept."""

    counts: Counter[MismatchKind] = field(default_factory=Counter)
    kept: dict[MismatchKind, list[Mismatch]] = field(default_factory=dict)

    def add(self, mismatches: Iterable[Mismatch]) -> None:
        for one in mismatches:
            self.counts[one.kind] += 1
            some = self.kept.setdefault(one.kind, [])
            if len(some) < LISTED:
                some.append(one)

    def __iter__(self) -> Iterator[Mismatch]:
        """Those that were kept, causes first."""
        return (one for kind in KINDS for one in self.kept.get(kind, ()))

    @property
    def first(self) -> Mismatch | None:
        return next(iter(self), None)
