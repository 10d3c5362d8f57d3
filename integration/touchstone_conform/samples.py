"""Bytes to send: the same in every run, and telling enough that a slip shows where it happened."""

import random


def sample(count: int, seed: int = 0) -> bytes:
    """`count` bytes of every value, the same for the same seed."""
    return random.Random(seed).randbytes(count)


ALL_BYTES = bytes(range(256))
