"""Releases for gateways: a signed repository of The Update Framework, what a release is, and how a ring fares."""

__all__ = ["health", "packing", "repository", "rings", "signers"]
