"""Bounded waiting for a condition."""

from __future__ import annotations

import time

_FIRST_PAUSE_S = 0.0005
_LONGEST_PAUSE_S = 0.02


class Deadline:
    """A moment on the monotonic clock by which something must have happened."""

    def __init__(self, seconds: float):
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that remain, never negative."""
        return max(0.0, self._end - time.monotonic())

    def passed(self) -> bool:
        return self.left() == 0.0


def wait_until(condition, seconds: float):
    """Ask `condition` until it is truthy or `seconds` have passed; return its last answer."""
    deadline = Deadline(seconds)
    pause = _FIRST_PAUSE_S
    while True:
        late = deadline.passed()
        answer = condition()
        if answer or late:
            return answer
        time.sleep(min(pause, deadline.left()))
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)
