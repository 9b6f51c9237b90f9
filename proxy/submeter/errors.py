"""Errors that end a command with one clear line."""


class UsageError(Exception):
    """Wrong usage or configuration: the text is one line that names the fix; exit code 2."""
