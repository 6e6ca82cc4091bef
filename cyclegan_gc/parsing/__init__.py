"""Parsing of the command line."""

from cyclegan_gc.parsing.parser import parse

__all__ = ["parse"]
