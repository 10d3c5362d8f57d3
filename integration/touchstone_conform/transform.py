"""What a conforming server makes of its input."""

_TABLE = bytes(byte - 0x20 if 0x61 <= byte <= 0x7A else byte for byte in range(256))


def upper(data):
    """ASCII a-z uppercased, every other byte as it is: no locale, no encoding."""
    return bytes(data).translate(_TABLE)
