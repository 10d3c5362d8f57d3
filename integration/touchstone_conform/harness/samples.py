"""Bytes to send: the same in every run, and without repetition, so that each loss is visible.

Of every value; to a server that maps some of them wrongly (ECHO-1) only plain ones, so that it can
be judged on everything else.
"""

import functools
import random

from touchstone_conform.transform import ALL_BYTES

PLAIN = b"bcdefghjklmnopqrstuvwxy0123456789"  # not the ends of the alphabet, nor i, as in Turkish
_TO_PLAIN = bytes(PLAIN[byte % len(PLAIN)] for byte in ALL_BYTES)

_plain = False


def use_plain(plain: bool) -> None:
    """Whether only plain bytes are sent from now on."""
    global _plain
    _plain = plain


def all_bytes() -> bytes:
    """Each byte value once, or each plain one."""
    return PLAIN if _plain else ALL_BYTES


def sample(count: int, seed: int = 0) -> bytes:
    """`count` bytes, the same for the same seed."""
    data = _random(count, seed)
    return data.translate(_TO_PLAIN) if _plain else data


@functools.lru_cache(maxsize=8)
def _random(count, seed):
    return random.Random(seed).randbytes(count)
