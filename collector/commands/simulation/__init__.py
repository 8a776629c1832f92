"""A fleet of simulated centers that speaks the real wire through a real broker, with scripted, logged trouble.

Everything up to the bytes is real: identities, keys, enrolment, batches, signatures, chains, receipts. Only the
measurements are made up, and every center's name says so.
"""

__all__ = ["fleet", "gateway", "identities", "join", "register", "run", "scale", "trouble", "truth", "witness"]
