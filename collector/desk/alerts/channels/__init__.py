"""Channels that are ours, each by the scheme of its URL: of programs, of a bot, of devices by Web Push."""

__all__ = ["push", "schemes"]
