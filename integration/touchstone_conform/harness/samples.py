"""Bytes to send: the same in every run, and without repetition, so that each loss is visible.

Of every value; to a server that maps some of them wrongly (ECHO-1) only plain ones, so that it can
be judged on everything else.
"""

import functools
import pathlib
import random

from touchstone_conform.transform import ALL_BYTES

PLAIN = b"bcdefghjklmnopqrstuvwxy0123456789"  # not the ends of the alphabet, nor i, as in Turkish
_PLENTY = 48 << 20  # more than the buffers of one connection, unless a system sets larger ones
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


def flood(buffer: int = 0) -> bytes:
    """More than a server that buffers so many bytes and the kernels at both ends store."""
    return sample(1 << 20) * ((buffer + _kernels_store()) // (1 << 20) + 1)


@functools.lru_cache(maxsize=1)
def _kernels_store():
    """The buffers of both ends (source: tcp(7), tcp_rmem and tcp_wmem); of unknown ones plenty."""
    try:
        limits = [pathlib.Path(f"/proc/sys/net/ipv4/tcp_{way}mem").read_text() for way in "rw"]
    except OSError:
        return _PLENTY
    return max(_PLENTY, 2 * sum(int(each.split()[2]) for each in limits))


@functools.lru_cache(maxsize=8)
def _random(count, seed):
    return random.Random(seed).randbytes(count)
