"""Runs centrally: receives, keeps evidence, judges, tells."""

from agent.wire import VERSION as WIRE_VERSION

__all__ = ["WIRE_VERSION"]
