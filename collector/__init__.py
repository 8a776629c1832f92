"""Runs centrally: receives, keeps evidence, judges, tells."""
