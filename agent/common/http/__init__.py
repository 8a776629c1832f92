"""Requests by HTTP and HTTPS that end in time and are bounded in size, of programs with little memory."""

from agent.common.http.client import HttpFailed, HttpPage, ask, open_page

__all__ = ["HttpFailed", "HttpPage", "ask", "open_page"]
