"""One round of the tests: what others depend on first, so that one defect gives one verdict."""

from __future__ import annotations

import contextlib

from touchstone_conform.cli import judging
from touchstone_conform.foundations import FOUNDATIONS
from touchstone_conform.report.results import BLOCKED, FAILED, Result


def run(arguments: list[str], jobs: int, whole: bool, progress=None) -> list[Result]:
    """One result for each test. A whole run judges the foundations first; they bear on one another,
    and run one by one. A part of the tests needs those that a failed one of it depends on."""
    if whole:
        founded = _founded(arguments, len(FOUNDATIONS))
        with _interrupted_with(founded):
            return founded + _rest(arguments, jobs, founded, (), _after(len(founded), progress))
    results = judging.run(arguments, jobs, (), progress)
    judged = 0
    while judged < (count := _count_of_needed(results)):
        with _interrupted_with(results):
            results, judged = _in_order(arguments, jobs, results, count), count
    return results


def _count_of_needed(results):
    """As many foundations, from the first on, as failed and blocked tests are or depend on."""
    doubtful = [each for each in results if each.outcome in (FAILED, BLOCKED)]
    names = {name for each in doubtful for name in [*each.leaned_on, each.foundation]}
    return max((i for i, name in enumerate(FOUNDATIONS, 1) if name in names), default=0)


def _in_order(arguments, jobs, results, count):
    """Better results, with so many foundations judged before."""
    founded = _founded(arguments, count)
    # What was blocked met foundations that were not judged in order.
    doubtful = (FAILED, BLOCKED) if _broken(founded) else (BLOCKED,)
    tests = [each for each in results if not each.foundation]
    selection = [each.name for each in tests if each.outcome in doubtful]
    again = _rest(arguments, jobs, founded, selection) if selection else []
    better = {each.name: each for each in [*founded, *again]}
    return [better.get(each.name, each) for each in results]


@contextlib.contextmanager
def _interrupted_with(results):
    """What was judged before an interrupt is part of the verdict so far."""
    try:
        yield
    except judging.Interrupted as interrupted:
        better = {each.name: each for each in [*results, *interrupted.results]}
        raise judging.Interrupted(list(better.values())) from None


def _founded(arguments, count):
    last = list(FOUNDATIONS)[count - 1]
    return judging.run([*arguments, "--touchstone-foundations", last], 1)


def _broken(founded):
    return [each.foundation for each in founded if each.outcome == FAILED]


def _rest(arguments, jobs, founded, selection, progress=None):
    broken = ["--touchstone-broken", ",".join(_broken(founded))]
    return judging.run([*arguments, *broken], jobs, selection, progress)


def _after(count, progress):
    """Counts those before as well."""
    return progress and (lambda done, total: progress(count + done, count + total))
