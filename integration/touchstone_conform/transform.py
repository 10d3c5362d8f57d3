"""What a conforming server answers: its input, mapped byte by byte.

Touchstone's own mapping is `upper`; `choose` makes the kit judge a service with another one.
"""

from __future__ import annotations

import importlib
import sys

from .samples import ALL_BYTES

UPPER = bytes(byte - 0x20 if 0x61 <= byte <= 0x7A else byte for byte in ALL_BYTES)

_table = UPPER


class TransformError(ValueError):
    """Names what is no mapping of bytes, and what was expected."""


def answer(data) -> bytes:
    """What is due for `data`; by default ASCII a-z uppercased, every other byte as it is."""
    return bytes(data).translate(_table)


def is_upper() -> bool:
    return _table == UPPER


def choose(name: str) -> None:
    """From now on what is due is what `upper`, `identity` or MODULE:FUNCTION make of the bytes."""
    global _table
    _table = table_of(name)


def table_of(name: str) -> bytes:
    """What becomes of each byte; TransformError if that depends on more than the byte."""
    if name == "upper":
        return UPPER
    if name == "identity":
        return ALL_BYTES
    function = _function(name)
    table = b"".join(_applied(name, function, bytes([byte])) for byte in ALL_BYTES)
    if _applied(name, function, ALL_BYTES[::-1]) != table[::-1]:
        raise TransformError(f"{name} maps a byte by its neighbours, expected byte by byte")
    return table


def _function(name):
    module, _, function = name.partition(":")
    if not module or not function:
        raise TransformError(f"{name!r} is not upper, identity or MODULE:FUNCTION")
    if "" not in sys.path:
        sys.path.insert(0, "")  # the module may lie where the command was given
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # whatever a module of others does as it is read
        raise TransformError(f"{name}: {error}") from error
    if not callable(found):
        raise TransformError(f"{name} is no function")
    return found


def _applied(name, function, data):
    try:
        result = function(data)
    except Exception as error:  # whatever it raises, it maps no bytes
        raise TransformError(f"{name} of {data!r}: {error}, expected as many bytes") from error
    if not isinstance(result, bytes) or len(result) != len(data):
        raise TransformError(f"{name} makes {result!r} of {data!r}, expected as many bytes")
    return result
