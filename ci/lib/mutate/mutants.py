"""The mutants: what universalmutator makes of a file by its rules for C, a line changed in each."""

import contextlib
import io
import re

from universalmutator import mutator

from .. import tree

RULES = ["universal.rules", "c.rules", "c_like.rules"]

COMMENT_OR_LITERAL = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""", re.DOTALL | re.VERBOSE
)
FUNCTION = re.compile(r"^\w.*?[ *](\w+)\(")


class Mutant:
    """`old` and `new` are lines without the blanks around them; `new` may be two."""

    def __init__(self, source, number, replacement):
        self.source = source
        self.number = number
        self.replacement = replacement
        self.old = source.lines[number - 1].strip()
        self.new = tuple(line.strip() for line in replacement.splitlines())
        self.function = source.functions[number - 1]
        self.nth = 1  # of those that read the same in one function

    @property
    def identity(self):
        return self.source.path, self.function, self.nth, self.old, self.new

    @property
    def text(self):
        lines = self.source.lines
        return "".join([*lines[: self.number - 1], self.replacement, *lines[self.number :]])

    def __str__(self):
        """Shows it as the list of survivors does."""
        where = f" in {self.function}" if self.function else ""
        nth = f" #{self.nth}" if self.nth > 1 else ""
        lines = [f"{self.source.path}{where}{nth}", f"- {self.old}"]
        return "\n".join([*lines, *(f"+ {line}".rstrip() for line in self.new)])


class Source:
    """A file without its comments: universalmutator passes over lines that have one."""

    def __init__(self, path):
        self.path = path
        self.text = without_comments((tree.TOP / path).read_text(encoding="utf-8"))
        self.lines = self.text.splitlines(keepends=True)
        self.functions = functions_of(self.lines)

    def mutants(self):
        with contextlib.redirect_stdout(io.StringIO()):
            made = mutator.mutants_regexp(
                self.lines, ruleFiles=RULES, ignorePatterns=[], ignoreStringOnly=True
            )
        seen = {}
        for number, replacement, *_ in made:
            mutant = Mutant(self, number, replacement)
            same = mutant.identity
            seen[same] = mutant.nth = seen.get(same, 0) + 1
            yield mutant


def without_comments(text):
    """Line numbers stay."""

    def blank(match):
        found = match.group()
        return re.sub(r"[^\n]", " ", found) if found.startswith("/") else found

    blanked = COMMENT_OR_LITERAL.sub(blank, text)
    return "".join(line.rstrip() + "\n" for line in blanked.splitlines())


def functions_of(lines):
    """The name of the function that each line is in, or nothing."""
    found, name = [], ""
    for line in lines:
        begins = FUNCTION.match(line)
        if begins:
            name = begins.group(1)
        found.append(name)
        if line.startswith("}"):
            name = ""
    return found
