"""What agent and collector hold of mains and batteries alike. Pure."""

from agent.common.power.battery import has_plenty
from agent.common.power.mains import LEAST_MAINS_V, Source

__all__ = ["LEAST_MAINS_V", "Source", "has_plenty"]
