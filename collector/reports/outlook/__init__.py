"""What a month will come to: the trend of its day sheets against what is asked."""

from collector.reports.outlook.trend import BurnWindows

__all__ = ["BurnWindows", "schedule"]
