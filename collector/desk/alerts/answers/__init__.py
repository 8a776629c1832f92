"""What people answer to messages, by whichever way: links, buttons, e-mail, text messages."""

__all__ = ["acts", "mail", "mailbox", "sms", "text"]
