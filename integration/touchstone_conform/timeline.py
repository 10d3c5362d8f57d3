"""A timeline: what happened in a test, as plain data, in the order of time.

An event is a dictionary: `at` (seconds), `who` (a client's name, or empty for the server), `client`
(its number, or None), `what`, `text` and `direction`, which is one of these.
"""

from __future__ import annotations

# To the server, from the server, or neither.
TO, FROM, AT = "to", "from", "at"


def lines_of(timeline: list[dict]) -> list[str]:
    """A timeline as text: time, client, direction, event."""
    width = max([len(each["who"]) for each in timeline], default=0)
    arrows = {TO: "->", FROM: "<-", AT: "  "}
    return [
        f"{each['at']:9.4f}  {each['who']:{width}}  {arrows[each['direction']]} {each['text']}"
        for each in timeline
    ]
