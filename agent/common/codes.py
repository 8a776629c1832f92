"""Every code that agent and collector produce, with parameters as they come. Tests render each in every language."""

from __future__ import annotations

from collections.abc import Mapping

from agent.common.reasons import Param

Examples = Mapping[str, Mapping[str, Param]]

AGENT: Examples = {}

COLLECTOR: Examples = {}
