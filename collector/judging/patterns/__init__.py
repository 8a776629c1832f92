"""What seats and power supplies say that no real ones do: equal noise, one moment of birth, values that stand still or
come again.

Each rule has a measure that an honest center does not reach by chance, and its figures are data; none is official. What
is found is a question for a visit."""

from collector.judging.patterns.facts import findings
from collector.judging.patterns.limits import FINDINGS

__all__ = ["FINDINGS", "findings"]
