"""What would be if: a draft of a standard held against days that are over."""

__all__ = ["draft", "processes"]
