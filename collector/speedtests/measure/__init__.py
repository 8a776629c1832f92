"""The measurement server: what gateways and other clients test their speed against, and the witness of each test."""

__all__ = ["admission", "delivery", "limits", "membership", "record", "server", "token"]
