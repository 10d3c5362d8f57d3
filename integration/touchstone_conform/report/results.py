"""The results of the tests, and the verdicts on requirements and profiles that follow."""

from __future__ import annotations

import dataclasses

from touchstone_conform.spec import Requirement

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"

# Of a requirement. FLAKY: its tests passed in some rounds and failed in others.
PASS, FAIL, FLAKY, SKIP = "pass", "fail", "flaky", "skip"


@dataclasses.dataclass
class Result:
    """One test in one round."""

    name: str
    requirements: list[str]
    outcome: str
    seconds: float = 0.0
    code: str = ""  # of a failure
    message: str = ""  # why it failed, or was skipped
    purpose: str = ""  # of a failed test: the first paragraph of its docstring
    timeline: list[dict] = dataclasses.field(default_factory=list)
    scenario: str | None = None
    inexpressible: str = ""  # why there is no scenario
    server: str = ""  # its command and the end of its output
    scenario_path: str = ""  # where the scenario was written
    label: str = ""  # the result of the same test with the reference server
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
    def codes(self) -> list[str]:
        """The codes of its failures, each once."""
        return list(dict.fromkeys(each.code for each in self.failures))

    @property
    def failed_tests(self) -> list[Result]:
        """The last failure of each test that failed."""
        return list({each.name: each for each in self.failures}.values())

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results if result.outcome == FAILED]


def judge(requirements, rounds: list[list[Result]], skips: dict[str, str]) -> list[Verdict]:
    """A verdict for each requirement; `skips` gives the reasons for those not to be judged."""
    return [_verdict(each, rounds, skips) for each in requirements]


def _verdict(requirement, rounds, skips):
    mine = [[each for each in one if requirement.id in each.requirements] for one in rounds]
    results = [result for one in mine for result in one]
    if requirement.id in skips:
        return Verdict(requirement, SKIP, skips[requirement.id], 0, 0, [])
    outcomes = [_outcome(one) for one in mine]
    passed, failed = outcomes.count(PASSED), outcomes.count(FAILED)
    if failed:
        verdict, reason = (FLAKY if passed else FAIL), ""
    elif passed:
        verdict, reason = PASS, ""
    else:
        verdict, reason = SKIP, next((each.message for each in results), "no test of it ran")
    return Verdict(requirement, verdict, reason, passed, passed + failed, results)


def _outcome(results):
    """Of one round: failed if any test failed, else passed if any test passed."""
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
