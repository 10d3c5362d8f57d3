"""The results of the tests, and the verdicts on requirements and profiles that follow."""

from __future__ import annotations

import dataclasses

from touchstone_conform.spec import Requirement

# BLOCKED: it depends on what this server lacks, and that has its own verdict.
PASSED, FAILED, BLOCKED, SKIPPED = "passed", "failed", "blocked", "skipped"

# Of a requirement. FLAKY: its tests passed in some rounds and failed in others. REMARK: it is a
# SHOULD that fails. BLOCK: no test of it could tell, since others fail.
PASS, FAIL, FLAKY, REMARK, BLOCK, SKIP = "pass", "fail", "flaky", "remark", "blocked", "skip"
VERDICTS = (FAIL, FLAKY, BLOCK, REMARK, PASS, SKIP)
JUDGED = (PASS, FAIL, FLAKY, REMARK)
HOLDS = (PASS, REMARK, SKIP)


@dataclasses.dataclass
class Result:
    """One test in one round."""

    name: str
    requirements: list[str]
    outcome: str
    foundation: str = ""  # that it judges
    blocked_by: list[str] = dataclasses.field(default_factory=list)  # requirements
    leaned_on: list[str] = dataclasses.field(default_factory=list)  # foundations
    seconds: float = 0.0
    code: str = ""  # of a failure or a skip
    message: str = ""  # why it failed, or was skipped
    purpose: str = ""  # of a failed test: the first paragraph of its docstring
    timeline: list[dict] = dataclasses.field(default_factory=list)
    scenario: str | None = None
    inexpressible: str = ""  # why there is no scenario
    shortened: bool = False  # the scenario leaves earlier clients out
    server: str = ""  # its command and the end of its output
    scenario_path: str = ""  # where the scenario was written
    replay: str = ""  # the command that shows it again, if the kit's own does not
    label: str = ""  # the result of the same test with the reference server
    round: int = 1


@dataclasses.dataclass
class Verdict:
    """One requirement, after all rounds."""

    requirement: Requirement
    verdict: str
    reason: str  # of a skip, or what blocks it
    rounds_passed: int
    rounds: int  # in which it was judged
    results: list[Result]

    @property
    def holds(self) -> bool:
        return self.verdict in HOLDS

    @property
    def codes(self) -> list[str]:
        """The codes of its failures, each once."""
        return list(dict.fromkeys(each.code for each in self.failures))

    @property
    def failed_tests(self) -> list[Result]:
        """The last failure of each test that failed."""
        return list({each.name: each for each in self.failures}.values())

    @property
    def blocked_by(self) -> list[str]:
        """The requirements that fail instead of it."""
        return list(dict.fromkeys(id for each in self.results for id in each.blocked_by))

    @property
    def failures(self) -> list[Result]:
        return [result for result in self.results if result.outcome == FAILED]


def judge(
    requirements, rounds: list[list[Result]], skips: dict[str, str], strict: bool = False
) -> list[Verdict]:
    """A verdict for each requirement; `skips` gives the reasons for those not to be judged.

    A SHOULD that fails is a remark, unless `strict`.
    """
    return [_verdict(each, rounds, skips, strict) for each in requirements]


def _verdict(requirement, rounds, skips, strict):
    mine = [[each for each in one if requirement.id in each.requirements] for one in rounds]
    results = [result for one in mine for result in one]
    if requirement.id in skips:
        return Verdict(requirement, SKIP, skips[requirement.id], 0, 0, [])
    outcomes = [_outcome(one) for one in mine]
    passed, failed = outcomes.count(PASSED), outcomes.count(FAILED)
    if failed and requirement.level != "MUST" and not strict:
        verdict, reason = REMARK, ""
    elif failed:
        verdict, reason = (FLAKY if passed else FAIL), ""
    elif passed:
        verdict, reason = PASS, ""
    elif BLOCKED in outcomes:
        blocked_by = [id for each in results for id in each.blocked_by]
        verdict, reason = BLOCK, f"blocked by {', '.join(dict.fromkeys(blocked_by))}"
    else:
        verdict, reason = SKIP, next((each.message for each in results), "no test of it ran")
    return Verdict(requirement, verdict, reason, passed, passed + failed, results)


def _outcome(results):
    """Of one round: failed if any test failed, else passed if any test passed.

    What a blocked test would have shown may be lacking, as with a skipped one: both are counted.
    """
    outcomes = {result.outcome for result in results}
    return next((each for each in (FAILED, PASSED, BLOCKED, SKIPPED) if each in outcomes), SKIPPED)


@dataclasses.dataclass
class ProfileVerdict:
    """A profile holds if nothing in it fails or is blocked, and something was judged."""

    profile: str
    counts: dict[str, int]  # by verdict

    @property
    def judged(self) -> bool:
        return any(self.counts[word] for word in (*JUDGED, BLOCK))

    @property
    def conforms(self) -> bool:
        return self.judged and not any(self.counts[word] for word in (FAIL, FLAKY, BLOCK))

    @property
    def verdict(self) -> str:
        """In words."""
        if not self.judged:
            return "not judged"
        if not self.conforms:
            return "does not conform"
        return "conforms, with remarks" if self.counts[REMARK] else "conforms"


def by_profile(verdicts: list[Verdict]) -> list[ProfileVerdict]:
    """The verdict of each profile that has requirements here."""
    found = {}
    for each in verdicts:
        found.setdefault(each.requirement.profile, []).append(each.verdict)
    return [
        ProfileVerdict(profile, {word: words.count(word) for word in VERDICTS})
        for profile, words in found.items()
    ]
