"""The command line: a file a command with what it prints. Only here is anything printed."""

from clipfake.cli.app import main

__all__ = ["main"]
