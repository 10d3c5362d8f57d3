"""Shows how much of each module was reached, as a table, JSON and HTML."""

import collections
import json

from .. import modules, tree
from .counted import percent
from .gate import module_of

KINDS = ("lines", "branches", "conditions")
TOGETHER = "together"
RESULTS = tree.RESULTS / "coverage.json"


def sums(files):
    """Maps each module to how much was reached of how much, of each kind."""
    found = collections.defaultdict(lambda: {kind: (0, 0) for kind in KINDS})
    for file in files:
        figures = found[module_of(file.path)]
        for kind in KINDS:
            figures[kind] = tuple(map(sum, zip(figures[kind], getattr(file, kind))))
    return {name: found[name] for name in modules.read() if name in found}


def cell(reached, of):
    return f"{reached}/{of} {percent(reached, of):5.1f}" if of else "-"


def table(by_suite):
    """Yields a line a module: lines, branches and conditions of all, branches of each suite."""
    alone = [suite for suite in by_suite if suite != TOGETHER]
    titles = ("lines", "branches", "MC/DC", "branches by:")
    header = f"{'module':18}" + "".join(f"{title:>16}" for title in titles)
    yield header + "".join(f"{suite:>12}" for suite in alone)
    for name, figures in by_suite[TOGETHER].items():
        cells = "".join(f"{cell(*figures[kind]):>16}" for kind in KINDS)
        shares = (percent(*of_suite(by_suite, suite, name)["branches"]) for suite in alone)
        yield f"{name:18}{cells}{'':16}" + "".join(f"{share:12.1f}" for share in shares)


def of_suite(by_suite, suite, name):
    """A suite need not have run a module at all."""
    return by_suite[suite].get(name) or {kind: (0, 0) for kind in KINDS}


def write(by_suite, complaints):
    made = {
        name: {
            suite: {
                kind: {"reached": reached, "of": of}
                for kind, (reached, of) in of_suite(by_suite, suite, name).items()
            }
            for suite in by_suite
        }
        for name in by_suite[TOGETHER]
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    data = {"modules": made, "complaints": complaints}
    RESULTS.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def write_page(profile, folder):
    options = ["--format=html", "--show-branches=count", "--show-mcdc", "--show-mcdc-summary"]
    tree.fresh_folder(folder)
    profile.llvm_cov("show", *options, f"--output-dir={folder}", "--project-title=Touchstone")
    return folder / "index.html"
