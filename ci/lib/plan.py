"""What ci/test runs: the steps of each mode."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from . import tree

MODES = ("test", "fast", "full", "portable")
LIMIT_S, LIMIT_FULL_S = 1800, 36000
ROTATED = 4


@dataclasses.dataclass(frozen=True)
class Step:
    """One command, which runs beside others."""

    name: str
    command: str
    full: str | None = None  # its long form

    @property
    def slug(self) -> str:
        return self.name.replace(",", "").replace(" ", "-")

    @property
    def log(self) -> Path:
        return tree.BUILD / "log" / f"{self.slug}.txt"

    @property
    def junit(self) -> Path:
        return tree.RESULTS / f"{self.slug}.xml"


SELF_TESTS = "ci/test self-test"
RULES = Step("rules", "ci/lint rules")
UNITS = Step("units, gcc", "ci/test units dev gcc")

# Each time. The longest begin first, so that the end is not one step alone.
CHECKS = [
    Step("the kit itself", "ci/conform self-test --sample 20", full="ci/conform self-test"),
    Step("proofs of the core", "ci/prove core", full="ci/prove core --full"),
    UNITS,
    Step("units, gcc, release", "ci/test units release gcc"),
    Step("reference, release", "ci/conform reference release"),
    Step("units, clang, msan", "ci/test units msan clang"),
    Step("units, clang, asan", "ci/test units asan clang"),
    Step("the tools themselves", f"{SELF_TESTS} --sample 2", full=SELF_TESTS),
    Step("coverage", "ci/coverage", full="ci/coverage --whole"),
    Step("clang-tidy", "ci/lint tidy", full="ci/lint tidy --full"),
    Step("mutants", "ci/mutate --sample 8", full="ci/mutate"),
    Step("fuzz", "ci/fuzz smoke", full="ci/fuzz all 600 --jobs 2"),
    Step("seeded defects", "ci/simulate defects --sample 4", full="ci/simulate defects"),
    Step("exploration", "ci/simulate explore --steps 3 --jobs 1", full="ci/simulate explore"),
    Step("soak", "ci/soak 10", full="ci/soak"),
    Step("under", "ci/simulate under --sample 2", full="ci/simulate under"),
    Step("random scenarios", "ci/simulate events 100000000",
         full="ci/simulate events 10000000000"),
    RULES,
    Step("layout", "ci/lint format"),
    Step("fault sweep", "ci/simulate sweep --sample 5", full="ci/simulate sweep"),
]

# Some of them each time, others with the next commit; in full all of them. The long ones do not
# stand side by side.
ROTATING = [
    Step("reference, asan", "ci/conform reference asan"),
    Step("units, gcc, asan", "ci/test units asan gcc"),
    Step("canary", "ci/fuzz canary"),
    Step("oss-fuzz", "ci/fuzz oss-fuzz"),
    Step("proofs of the shell", "ci/prove shell", full="ci/prove shell --full"),
    Step("ports", "ci/conform ports --sample 2 --smoke", full="ci/conform ports"),
    Step("units, clang", "ci/test units dev clang"),
    Step("fuzz coverage", "ci/fuzz coverage"),
    Step("cross", "ci/cross --sample 2", full="ci/cross"),
    Step("page", "ci/conform page"),
    Step("units, clang, release", "ci/test units release clang"),
    Step("fuzzed defects", "ci/fuzz defects --sample", full="ci/fuzz defects"),
    Step("package", "ci/package"),
    Step("third-party", "ci/conform third-party --sample 2 --smoke"
         " twisted uvloop evio node eventmachine io-async socat-cat tcpserver",
         full="ci/conform third-party"),
    Step("explored defects", "ci/simulate defects --explore --sample 4",
         full="ci/simulate defects --explore"),
    Step("determinism", "ci/simulate determinism"),
    Step("proven defects", "ci/prove --defects emptied token-issued-twice"
         " contract-eintr-is-would-block contract-without-a-body sizes-wrap-in-32-bits",
         full="ci/prove --defects"),
]

FULL_ALONE = [
    Step("package, by apt", "ci/package --clean-root"),
    Step("serve, in a clean root", "ci/test clean-root serve"),
]

PORTABLE = [
    Step("units", "ci/test units dev cc"),
    Step("reference, wire", "ci/conform reference dev cc --profile wire"),
]


def steps(mode: str) -> tuple[list[Step], int]:
    """The steps of a mode, and how long each may take, in seconds."""
    if mode == "fast":
        return [UNITS, RULES], LIMIT_S
    if mode == "portable":
        return PORTABLE, LIMIT_S
    if mode == "full":
        whole = [_long(each) for each in CHECKS + ROTATING]
        return whole + FULL_ALONE, LIMIT_FULL_S
    return CHECKS + tree.rotated(ROTATING, ROTATED), LIMIT_S


def _long(step: Step) -> Step:
    return dataclasses.replace(step, command=step.full) if step.full else step
