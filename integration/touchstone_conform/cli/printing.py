"""The verdict on the terminal: one line for each requirement, then the evidence."""

from __future__ import annotations

import os
import shutil
import textwrap
import time

from touchstone_conform.report.results import (
    BLOCK,
    BLOCKED,
    FAIL,
    FLAKY,
    PASS,
    REMARK,
    SKIP,
    SKIPPED,
    Verdict,
    by_profile,
)
from touchstone_conform.timeline import lines_of, visible

_COLOURS = {PASS: "32", FAIL: "31;1", FLAKY: "31;1", BLOCK: "33", REMARK: "33", SKIP: "33"}
_WORD_WIDTH = max(map(len, _COLOURS))
_WIDTH_ELSEWHERE = 100
_ALSO_MAX = 4
_LINE_EVERY_S = 15


class Printer:
    """Writes to a stream, with colours if that is a terminal.

    What the stream's encoding lacks is written as its number. If the stream cannot be written to,
    reports and the exit status still matter. `errors` has what could not be written, and why, but
    for a stream without a reader.
    """

    def __init__(self, stream):
        self._stream = stream
        self.errors = []
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
        self._coloured = stream.isatty() and not os.environ.get("NO_COLOR")
        self._width = shutil.get_terminal_size((_WIDTH_ELSEWHERE, 24)).columns
        if not stream.isatty():
            self._width = _WIDTH_ELSEWHERE
        self._next_line = time.monotonic() + _LINE_EVERY_S

    def line(self, text: str = "") -> None:
        self._write(visible(text) + "\n")

    def _write(self, text):
        try:
            print(text, end="", file=self._stream, flush=True)
        except OSError as error:
            if not isinstance(error, BrokenPipeError):
                self.errors.append(f"cannot write to standard output: {error.strerror}")
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())

    def progress(self, count: int, total: int) -> None:
        """How many tests are done: on a terminal in one line, elsewhere from time to time."""
        if self._stream.isatty():
            self._write(f"\r{count} of {total} tests ")
        elif time.monotonic() >= self._next_line:
            self.line(f"{count} of {total} tests ...")
            self._next_line = time.monotonic() + _LINE_EVERY_S

    def requirement(self, requirement) -> None:
        head = f"{requirement.id:8} {requirement.profile:9} {requirement.level:6} "
        self.line(head + requirement.sentence)

    def verdicts(self, verdicts: list[Verdict]) -> None:
        """One line each; none for a profile of which nothing was judged."""
        if self._stream.isatty():
            self._write("\r")
        not_judged = {each.profile for each in by_profile(verdicts) if not each.judged}
        for each in verdicts:
            if each.requirement.profile not in not_judged:
                self._verdict(each)

    def _verdict(self, each):
        word = each.verdict.upper() if each.verdict in (FAIL, FLAKY) else each.verdict
        if each.rounds > 1 and each.verdict in (PASS, FLAKY):
            word = f"{each.rounds_passed}/{each.rounds}"
        head = f"{each.requirement.id:8} "
        text = _one_line(each.reason)
        if each.verdict not in (BLOCK, SKIP):
            width = max(20, self._width - _WORD_WIDTH - 1 - len(head))
            text = textwrap.shorten(each.requirement.sentence, width, placeholder=" …")
        self._coloured_line("", each.verdict, f"{word:{_WORD_WIDTH}}", f" {head}{text}")
        if each.verdict not in (BLOCK, SKIP):
            self._not_run(each.results, SKIPPED)
            self._not_run(each.results, BLOCKED)

    def _not_run(self, results, outcome):
        """How many tests of a requirement were skipped or blocked, and why."""
        those = [each for each in results if each.outcome == outcome]
        reasons = {each.name: _one_line(each.message) for each in those}
        if reasons:
            why = "; ".join(sorted({each.removeprefix("blocked ") for each in reasons.values()}))
            count = len({each.name for each in results})
            indent = " " * (_WORD_WIDTH + 10)
            self.line(f"{indent}{len(reasons)} of {count} tests {outcome}: {why}")

    def _coloured_line(self, before, verdict, text, after):
        """One line; `text` has the colour of a verdict."""
        text = visible(text)
        if self._coloured:
            text = f"\033[{_COLOURS[verdict]}m{text}\033[0m"
        self._write(f"{visible(before)}{text}{visible(after)}\n")

    def kit_error(self, result) -> None:
        """A test without a verdict, for a fault that is not the server's."""
        self.line()
        self.line(f"KIT   {result.name}")
        for line in result.message.splitlines():
            self.line(f"    {line}")

    def evidence(self, verdict: Verdict, replay: str) -> None:
        """Why a requirement fails: its first failure in full, with the command that shows it again;
        the others by name."""
        requirement = verdict.requirement
        self.line()
        title = f"{requirement.id} ({requirement.profile})"
        self._coloured_line("", verdict.verdict, title, f" {requirement.sentence}")
        if verdict.verdict == FLAKY:
            self.line(f"  passed in {verdict.rounds_passed} of {verdict.rounds} rounds")
        failures = verdict.failed_tests
        self._failure(failures[0], replay)
        for each in failures[1:_ALSO_MAX]:
            message = each.message.partition("\n")[0]
            text = f"also {each.name}: {each.code}: {message}"
            self.line(f"  {textwrap.shorten(text, 2 * self._width, placeholder=' …')}")
        if len(failures) > _ALSO_MAX:
            self.line(f"  and {len(failures) - _ALSO_MAX} more")

    def _failure(self, result, replay):
        self.line(f"  {result.name}{f' ({result.label})' if result.label else ''}")
        if result.purpose:
            self.line(f"    {result.purpose}")
        for line in f"{result.code}: {result.message}".splitlines():
            self.line(f"    {line}")
        if result.timeline:
            self.line("  what happened (seconds, client, direction, event):")
        for line in lines_of(result.timeline):
            self.line(f"    {line}")
        if result.inexpressible and not result.scenario_path:
            self.line(f"  cannot be expressed as a scenario: {result.inexpressible}")
        self.line(f"  replay: {replay}")

    def profiles(self, verdicts: list[Verdict]) -> None:
        self.line()
        for each in by_profile(verdicts):
            self._coloured_line(f"{each.profile}: ", *self._profile(each, verdicts))

    def _profile(self, profile, verdicts):
        """Its verdict, as a colour and a word, and what follows the word."""
        counts = ", ".join(f"{count} {word}" for word, count in profile.counts.items() if count)
        if profile.judged:
            colour = PASS if profile.conforms else FAIL
            return colour, profile.verdict, f" ({counts})"
        reasons = {v.reason for v in verdicts if v.requirement.profile == profile.profile}
        return SKIP, "not judged", f" ({counts}): {'; '.join(sorted(reasons))}"


def _one_line(text):
    return " ".join(text.split())
