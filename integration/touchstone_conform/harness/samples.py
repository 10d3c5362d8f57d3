"""Bytes to send: the same in every run, and without repetition, so that each loss is visible."""

import random

from touchstone_conform.transform import ALL_BYTES

__all__ = ["ALL_BYTES", "sample"]


def sample(count: int, seed: int = 0) -> bytes:
    """`count` bytes of every value, the same for the same seed."""
    return random.Random(seed).randbytes(count)
