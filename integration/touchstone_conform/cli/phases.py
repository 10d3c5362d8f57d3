"""One round of the tests: what others lean on first, so that one defect gives one verdict."""

from __future__ import annotations

from touchstone_conform.cli import judging
from touchstone_conform.report.results import FAILED, Result


def run(arguments: list[str], jobs: int, whole: bool, progress=None) -> list[Result]:
    """One result for each test. A whole run judges the foundations first; they bear on one another,
    and run one by one. A part of the tests needs them only if one of it fails."""
    if whole:
        founded = judging.run([*arguments, "--foundations"], 1)
        return founded + _rest(arguments, jobs, founded, (), _after(len(founded), progress))
    results = judging.run(arguments, jobs, (), progress)
    failed = [each for each in results if each.outcome == FAILED]
    if not failed:
        return results
    founded = judging.run([*arguments, "--foundations"], 1)
    selection = [each.name for each in failed if not each.foundation]
    again = _rest(arguments, jobs, founded, selection) if selection and _broken(founded) else []
    better = {each.name: each for each in [*founded, *again]}
    return [better.get(each.name, each) for each in results]


def _broken(founded):
    return [each.foundation for each in founded if each.outcome == FAILED]


def _rest(arguments, jobs, founded, selection, progress=None):
    broken = ["--broken", ",".join(_broken(founded))]
    return judging.run([*arguments, *broken], jobs, selection, progress)


def _after(count, progress):
    """Counts those before as well."""
    return progress and (lambda done, total: progress(count + done, count + total))
