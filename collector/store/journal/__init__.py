"""A signed journal beside the database of what decides whom to trust and what months rest on; it outlives a restore;
and the leaves of the transparency log, written in the transaction of what they speak of."""

from collector.store.journal.journal import FILE, MARKS, STANDARDS, Entry, Journal, JournalError, journaled
from collector.store.journal.rows import CHANGING

__all__ = ["CHANGING", "FILE", "MARKS", "STANDARDS", "Entry", "Journal", "JournalError", "journaled", "leaves"]
