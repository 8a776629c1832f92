"""The log: events with names and fields, a line each on standard error, as text for people or as JSON for machines.

A module declares its events beside its code and logs nothing else; docs/logs.md is made from the declarations. Only
the standard library is needed, as the seat program uses this too.
"""

from agent.common.logs.event import EVENTS, Event, Level
from agent.common.logs.setup import FORMATS, Format, also_to, argument, complain, hush, start

__all__ = ["EVENTS", "FORMATS", "Event", "Format", "Level", "also_to", "argument", "complain", "hush", "start"]
