"""What became of the mutants of each module: a table, and build/results/mutation.json."""

import collections
import json

from .. import tree
from . import ladder


class Figures:
    """What became of a module's mutants."""

    def __init__(self):
        self.made = self.invalid = self.equivalent = self.duplicate = 0
        self.argued = self.lives = self.unlisted = 0
        self.by = collections.Counter()

    @property
    def killed(self):
        return sum(self.by.values())

    @property
    def judged(self):
        return self.killed + self.argued + self.lives + self.unlisted

    @property
    def per_cent(self):
        """The share killed of those that some test could notice."""
        rest = self.judged - self.argued
        return 100 * self.killed / rest if rest else 100.0

    def as_json(self):
        return {
            "made": self.made, "invalid": self.invalid, "equivalent": self.equivalent,
            "duplicate": self.duplicate, "judged": self.judged, "killed": self.killed,
            "killed_by": {stage: self.by[stage] for stage in ladder.STAGES},
            "equivalent_by_argument": self.argued, "surviving": self.lives + self.unlisted,
            "unlisted": self.unlisted, "per_cent": round(self.per_cent, 2),
        }


def table(figures):
    columns = ["generated", "invalid", "equivalent", "duplicate", "judged", *ladder.STAGES]
    columns += ["argued", "live", "%"]
    widths = [max(6, len(column)) for column in columns]
    rows = [("module", columns)]
    for name, each in figures.items():
        killed = [each.by[stage] for stage in ladder.STAGES]
        live = each.lives + each.unlisted
        row = [each.made, each.invalid, each.equivalent, each.duplicate, each.judged, *killed]
        rows.append((name, [*row, each.argued, live, f"{each.per_cent:.1f}"]))
    return "\n".join(
        f"{name:18}" + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths))
        for name, cells in rows
    )


def write(figures):
    """Modules that were not part of this run keep what is known of them."""
    path = tree.RESULTS / "mutation.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    modules = known.get("modules", {})
    modules.update({name: each.as_json() for name, each in figures.items()})
    path.write_text(json.dumps({"modules": modules}, indent=1) + "\n", encoding="utf-8")
