"""One source file: which of its lines, branches and conditions were reached."""

import re

from .. import command, tree


class File:
    """One source file, as llvm-cov exports it."""

    def __init__(self, path, entry):
        self.path = path
        self.lines = (entry["summary"]["lines"]["covered"], entry["summary"]["lines"]["count"])
        self._text = (tree.TOP / path).read_text(encoding="utf-8")
        self._rows = self._text.splitlines()
        branches = [Branch(path, self._between(each), each) for each in entry.get("branches", [])]
        self.decisions = [each[:4] for each in entry.get("mcdc_records", [])]
        self._mark_conditions(branches, entry.get("mcdc_records", []))
        self._branches = branches

    def _between(self, region):
        """The source text of a region, as one line."""
        first, begin, last, end = region[:4]
        rows = self._rows[first - 1 : last]
        rows[-1] = rows[-1][: end - 1]
        rows[0] = rows[0][begin - 1 :]
        return " ".join(" ".join(rows).split())

    def _mark_conditions(self, branches, records):
        """A decision lists whether each of its conditions, in their order, decided alone."""
        for record in records:
            inside = [each for each in branches if each.is_condition and each.is_within(record)]
            inside.sort(key=lambda each: each.place)
            if len(inside) != len(record[-1]):
                where = f"{self.path}:{record[0]}"
                raise command.CannotRun(f"{where}: conditions do not fit llvm-cov's")
            for branch, alone in zip(inside, record[-1]):
                branch.alone = alone

    @property
    def branches(self):
        sides = [side for each in self._branches for side in each.sides.values()]
        return sum(sides), len(sides)

    @property
    def conditions(self):
        alone = [each.alone for each in self._branches if each.alone is not None]
        return sum(alone), len(alone)

    def misses(self):
        """(line, key) of each side of a branch and each condition that was missed."""
        return [(each.place[0], key) for each in self._branches for key in each.misses()]

    def uncounted(self):
        """Lines with an operator that makes a decision which clang gave no count for: of those that
        hold another decision in an operand it says so once, while compiling, and goes on."""
        for operator in re.finditer(r"&&|\|\|", BLANK.sub(blank, self._text)):
            line = self._text.count("\n", 0, operator.start()) + 1
            column = operator.start() - self._text.rfind("\n", 0, operator.start())
            if not any(is_inside((line, column), each) for each in self.decisions):
                yield line


# Where an operator is none of the program's.
BLANK = re.compile(
    r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'"
    r"|\b(?:static_)?assert\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)",
    re.DOTALL,
)


def blank(match):
    return re.sub(r"\S", " ", match.group())


def is_inside(place, region):
    return tuple(region[:2]) <= place < tuple(region[2:4])


class Branch:
    """A condition with its two sides."""

    CONDITION = 6  # llvm's kind of a branch that is part of a decision

    def __init__(self, path, text, region):
        self.path, self.text = path, text
        self.place = tuple(region[:2])
        self.sides = {"true": region[4] > 0, "false": region[5] > 0}
        self.is_condition = region[8] == self.CONDITION
        self.alone = None  # a condition: whether it decided alone

    def is_within(self, region):
        return is_inside(self.place, region)

    def misses(self):
        """A condition that never had one of its values is listed for that only."""
        missed = [side for side, taken in self.sides.items() if not taken]
        if not missed and self.alone is False:
            missed = ["alone"]
        return [f"{self.path}: {what}: {self.text}" for what in missed]
