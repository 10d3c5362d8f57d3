"""What a conforming server answers: its input, mapped byte by byte.

Touchstone's own mapping is `upper`; `choose` selects another one.
"""

from __future__ import annotations

import importlib
import sys

ALL_BYTES = bytes(range(256))
UPPER = bytes(byte - 0x20 if 0x61 <= byte <= 0x7A else byte for byte in ALL_BYTES)

_table = UPPER


class TransformError(ValueError):
    """Names what is not a mapping of bytes, and what was expected."""


def answer(data) -> bytes:
    """What is due for `data`; by default ASCII a-z uppercased, all other bytes unchanged."""
    return bytes(data).translate(_table)


def is_upper() -> bool:
    return _table == UPPER


def choose(name: str, directory: str) -> None:
    """Set the mapping that `answer` applies: `upper`, `identity` or MODULE:FUNCTION.

    A module is looked for in the directory after all others: no file there takes the name of
    another module.
    """
    global _table
    _table = table_of(name, directory)


def table_of(name: str, directory: str) -> bytes:
    """What becomes of each byte; TransformError if that depends on more than the byte."""
    if name == "upper":
        return UPPER
    if name == "identity":
        return ALL_BYTES
    function = _function(name, directory)
    table = b"".join(_applied(name, function, bytes([byte])) for byte in ALL_BYTES)
    if _applied(name, function, ALL_BYTES[::-1]) != table[::-1]:
        raise TransformError(f"{name} maps a byte depending on its neighbours, expected each alone")
    return table


def _function(name, directory):
    module, _, function = name.partition(":")
    if not module or not function:
        raise TransformError(f"{name!r}: expected upper, identity or MODULE:FUNCTION")
    if directory not in sys.path:
        sys.path.append(directory)
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # importing a module may raise anything
        raise TransformError(f"{name}: {error}") from error
    if not callable(found):
        raise TransformError(f"{name} is not a function")
    return found


def _applied(name, function, data):
    try:
        result = function(data)
    except Exception as error:  # it may raise anything
        raise TransformError(f"{name} of {data!r}: {error}, expected as many bytes") from error
    if not isinstance(result, bytes) or len(result) != len(data):
        raise TransformError(f"{name} maps {data!r} to {result!r}, expected as many bytes")
    return result
