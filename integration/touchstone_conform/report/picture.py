"""A timeline as a picture: time runs down; each client and the server have a lane."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, tostring

from touchstone_conform.timeline import AT, FROM

_ROW = 26
_HEAD = 44
_TIME_WIDTH = 74
_LANES_WIDTH, _LANE_MAX = 420, 96
_ARROWS_WIDTH = 460
_MARGIN = 110
_LABEL_CHARACTERS = 62
_TIP = 7


def svg(timeline: list[dict]) -> str:
    """SVG for the page, whose style gives the colours to the classes."""
    return _Picture(timeline).draw() if timeline else ""


class _Picture:
    def __init__(self, timeline):
        self._timeline = timeline
        names = {each["client"]: each["who"] for each in timeline if each["client"] is not None}
        self._names = dict(sorted(names.items()))
        step = min(_LANE_MAX, _LANES_WIDTH / max(1, len(names)))
        self._lanes = {
            client: _TIME_WIDTH + step * (i + 0.5) for i, client in enumerate(self._names)
        }
        last = max(self._lanes.values(), default=_TIME_WIDTH)
        self._server = last + _ARROWS_WIDTH
        self._height = _HEAD + _ROW * (len(timeline) + 1)

    def draw(self) -> str:
        width = self._server + _MARGIN
        self._root = Element(
            "svg",
            {
                "viewBox": f"0 0 {width:.0f} {self._height}",
                "width": f"{width:.0f}",
                "class": "timeline",
                "role": "img",
                "aria-label": "what the clients and the server did, in order of time",
            },
        )
        self._heads()
        for row, event in enumerate(self._timeline):
            self._event(_HEAD + _ROW * (row + 1), event)
        return tostring(self._root, encoding="unicode")

    def _heads(self):
        crowded = len(self._lanes) > _LANES_WIDTH // _LANE_MAX + 1
        for client, x in self._lanes.items():
            name = str(client) if crowded else self._names[client]
            self._text(x, 18, name, "head", anchor="middle")
            self._line(x, 28, x, self._height - 8, "lane")
        self._text(self._server, 18, "server", "head", anchor="middle")
        self._line(self._server, 28, self._server, self._height - 8, "lane server")
        self._text(_TIME_WIDTH - 18, 18, "seconds", "time", anchor="end")

    def _event(self, y, event):
        self._text(_TIME_WIDTH - 18, y + 4, f"{event['at']:.4f}", "time", anchor="end")
        kind = _kind(event)
        if event["direction"] != AT:
            self._arrow(y, event, kind)
        elif event["client"] is None:
            self._dot(self._server, y, kind)
            self._text(self._server - 12, y + 4, event["text"], f"note {kind}", anchor="end")
        else:
            x = self._lanes[event["client"]]
            self._dot(x, y, kind)
            self._text(x + 12, y + 4, event["text"], f"note {kind}")

    def _arrow(self, y, event, kind):
        x = self._lanes[event["client"]]
        tip, tail = (x, self._server) if event["direction"] == FROM else (self._server, x)
        way = 1 if tip > tail else -1
        self._line(tail, y, tip - way * _TIP, y, f"arrow {kind}")
        base = tip - way * _TIP * 1.6
        points = f"{tip:.1f},{y} {base:.1f},{y - 4} {base:.1f},{y + 4}"
        SubElement(self._root, "polygon", points=points, attrib={"class": kind})
        middle = (max(self._lanes.values()) + self._server) / 2
        self._text(middle, y - 5, event["text"], f"label {kind}", anchor="middle")

    def _dot(self, x, y, kind):
        at = {"cx": f"{x:.1f}", "cy": str(y), "r": "4"}
        SubElement(self._root, "circle", {**at, "class": kind})

    def _line(self, x1, y1, x2, y2, kind):
        at = {"x1": f"{x1:.1f}", "y1": str(y1), "x2": f"{x2:.1f}", "y2": str(y2)}
        SubElement(self._root, "line", {**at, "class": kind})

    def _text(self, x, y, text, kind, anchor="start"):
        if len(text) > _LABEL_CHARACTERS:
            text = text[: _LABEL_CHARACTERS - 1] + "…"
        at = {"x": f"{x:.1f}", "y": str(y), "text-anchor": anchor, "class": kind}
        SubElement(self._root, "text", at).text = text


def _kind(event):
    """The class of its colour."""
    words = event["text"].split()
    for word, kind in (("RST", "rst"), ("FIN", "fin"), ("failed", "wrong"), ("timeout", "wrong")):
        if word in words[:2]:
            return kind
    if event["what"].startswith("expect"):
        return "wrong"
    return {"to": "sent", "from": "received", "at": "other"}[event["direction"]]
