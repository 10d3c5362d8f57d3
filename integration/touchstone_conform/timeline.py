"""A timeline: what happened in a test, as plain data, in the order of time.

An event is a dictionary: `at` (seconds), `who` (a client's name, or empty for the server), `client`
(its number, or None), `what`, `text` and `direction`, which is one of these.
"""

from __future__ import annotations

import re

# To the server, from the server, or neither.
TO, FROM, AT = "to", "from", "at"

# What a terminal or a reader of text would obey instead of show: controls (but not the end of a
# line and a tab), marks of direction, other ends of lines, and halves of characters.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)


def visible(text: str) -> str:
    """Text of a server, or of a file name, with each such character as its number."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def lines_of(timeline: list[dict]) -> list[str]:
    """A timeline as text: time, client, direction, event."""
    width = max([len(each["who"]) for each in timeline], default=0)
    arrows = {TO: "->", FROM: "<-", AT: "  "}
    return [
        f"{each['at']:9.4f}  {each['who']:{width}}  {arrows[each['direction']]} {each['text']}"
        for each in timeline
    ]
