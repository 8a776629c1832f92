"""What a month will come to: the trend of its day sheets against what is asked."""

__all__ = ["schedule"]
