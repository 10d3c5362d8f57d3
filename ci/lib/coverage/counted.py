"""What clang counted of the product's sources while some programs ran.

The preset `coverage` builds them: without assertions, for the side of them that fails is never to
be seen.
"""

import json
import subprocess

from .. import command, tree

PRODUCT = ("src", "include")
LLVM = 19  # as the preset says


class Counted:
    """Raw profiles of some programs, merged."""

    def __init__(self, profile, raw, programs):
        # One may be cut short: a test kills its server.
        merge = [f"llvm-profdata-{LLVM}", "merge", "-sparse", "--failure-mode=all"]
        command.output_of([*merge, "-o", profile, *raw])
        self.profile = profile
        self.programs = programs

    def llvm_cov(self, verb, *options):
        objects = [f"--object={program}" for program in self.programs[1:]]
        sources = [tree.TOP / folder for folder in PRODUCT]
        return command.output_of(
            [f"llvm-cov-{LLVM}", verb, *options, f"--instr-profile={self.profile}",
             self.programs[0], *objects, *sources],
            stderr=subprocess.PIPE,
        )

    def files(self, *options):
        """What llvm-cov exports of each file that has code."""
        export = json.loads(self.llvm_cov("export", *options))
        entries = sorted(export["data"][0]["files"], key=lambda entry: entry["filename"])
        return {
            tree.shown(entry["filename"]): entry
            for entry in entries
            if entry["summary"]["lines"]["count"] > 0
        }


def percent(reached, of):
    return 100 * reached / of if of else 100
