"""What the tests said, and what follows for each requirement and each profile."""

from __future__ import annotations

import dataclasses

from .spec import Requirement

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

# Of a requirement. `flaky`: its tests passed in some rounds and failed in others.
PASS, FAIL, FLAKY, SKIP = "pass", "fail", "flaky", "skip"


@dataclasses.dataclass
class Result:
    """One test in one round."""

    name: str
    requirements: list[str]
    outcome: str
    seconds: float = 0.0
    message: str = ""  # why it failed, or was skipped
    timeline: list[dict] = dataclasses.field(default_factory=list)
    scenario: str | None = None
    unsayable: str = ""  # why there is no scenario
    server: str = ""  # its command and last words
    scenario_path: str = ""  # where the scenario was written
    label: str = ""  # what the same test said of another server
    round: int = 1


@dataclasses.dataclass
class Verdict:
    """One requirement, after all rounds."""

    requirement: Requirement
    verdict: str
    reason: str  # of a skip
    rounds_passed: int
    rounds: int  # in which it was judged
    results: list[Result]

    @property
    def holds(self) -> bool:
        return self.verdict in (PASS, SKIP)

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results if result.outcome == FAILED]


def judge(requirements, rounds: list[list[Result]], skips: dict[str, str]) -> list[Verdict]:
    """A verdict for each of the requirements; `skips` are those nobody wanted judged, and why."""
    return [_verdict(each, rounds, skips) for each in requirements]


def _verdict(requirement, rounds, skips):
    mine = [[each for each in one if requirement.id in each.requirements] for one in rounds]
    results = [result for one in mine for result in one]
    if requirement.id in skips:
        return Verdict(requirement, SKIP, skips[requirement.id], 0, 0, [])
    outcomes = [_outcome(one) for one in mine]
    passed, failed = outcomes.count(PASSED), outcomes.count(FAILED)
    if failed:
        word, reason = (FLAKY if passed else FAIL), ""
    elif passed:
        word, reason = PASS, ""
    else:
        word, reason = SKIP, next((each.message for each in results), "no test of it was run")
    return Verdict(requirement, word, reason, passed, passed + failed, results)


def _outcome(results):
    """Of one round: one test that fails is enough, and so is one that passes where none does."""
    outcomes = {result.outcome for result in results}
    return next((each for each in (FAILED, PASSED, SKIPPED) if each in outcomes), SKIPPED)


@dataclasses.dataclass
class ProfileVerdict:
    """A profile holds if nothing in it fails, and something was judged."""

    profile: str
    counts: dict[str, int]  # by verdict

    @property
    def judged(self) -> bool:
        return any(self.counts[word] for word in (PASS, FAIL, FLAKY))

    @property
    def conforms(self) -> bool:
        return self.judged and not self.counts[FAIL] and not self.counts[FLAKY]


def by_profile(verdicts: list[Verdict]) -> list[ProfileVerdict]:
    """The verdict of each profile that has requirements here."""
    found = {}
    for each in verdicts:
        found.setdefault(each.requirement.profile, []).append(each.verdict)
    return [
        ProfileVerdict(profile, {word: words.count(word) for word in (PASS, FAIL, FLAKY, SKIP)})
        for profile, words in found.items()
    ]
