"""Runs on the gateway of each center: measures, keeps, sends."""

__version__ = "0.2.0"
