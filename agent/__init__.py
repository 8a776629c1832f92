"""Runs on the gateway of each center: measures, keeps, sends."""

__version__ = "0.1.0"
