"""Folds what the engines found into the committed corpora."""

import re
import shutil

from .. import command, tree
from . import targets

# Files whose name begins so were found by an engine; all others were written by hand and stay.
FOUND_PREFIX = "found-"
BYTES_MAX = 1 << 20
# An edge is worth a file, how often it is taken is not: what is committed is to be looked at.
EDGES_ALONE = "-use_counters=0"


def merge(names, top=tree.TOP):
    for name in names:
        merge_one(targets.Target(name, top))
    size = sum(path.stat().st_size for path in (top / "fuzz").glob("corpus/*/*"))
    command.say(f"fuzz/corpus: {size:,} bytes in {len(names)} targets (at most {BYTES_MAX:,})")
    if size > BYTES_MAX:
        raise command.CannotRun(f"fuzz/corpus: more than {BYTES_MAX:,} bytes [corpus-size]")


def merge_one(target):
    """What is written by hand, and the smallest inputs that add something to it."""
    build = targets.Build("fuzz-libfuzzer", [target.name], target.top)
    place = target.place("merge", target.name)
    merged = tree.fresh_folder(place / "merged")
    target.corpus.mkdir(parents=True, exist_ok=True)
    known = set()
    for folder in target.seed_folders(build, place):
        for path in targets.inputs(folder):
            if not path.name.startswith(FOUND_PREFIX):
                shutil.copyfile(path, merged / path.name)
                known.add(path.name)
    finds = [target.place(engine, target.name, "corpus") for engine in ("libfuzzer", "afl")]
    sources = [target.corpus, *(folder for folder in finds if folder.is_dir())]
    build.libfuzzer(target.name, "-set_cover_merge=1", EDGES_ALONE, merged, *sources)
    demand_all_edges(build, target, merged, sources)
    replace(target, [path for path in targets.inputs(merged) if path.name not in known])


def demand_all_edges(build, target, merged, sources):
    """libFuzzer ends with status 0 when its merge came to nothing, too."""
    found, expected = edges(build, target, merged), edges(build, target, merged, *sources)
    if found < expected:
        raise command.CannotRun(
            f"{target.name}: merged inputs reach {found} edges, expected {expected}; fuzz/corpus "
            "is left as it is [merge]"
        )


def edges(build, target, *folders):
    """How many the inputs of these folders reach."""
    done = build.libfuzzer(target.name, "-runs=0", EDGES_ALONE, *folders)
    counted = re.search(r"^#\d+\s+DONE\s+cov: (\d+)", done.stdout, re.MULTILINE)
    if done.returncode != 0 or not counted:
        raise command.CannotRun(f"{target.name} cannot run on its inputs [merge]\n{done.stdout}")
    return int(counted[1])


def replace(target, found):
    before = [
        path for path in targets.inputs(target.corpus) if path.name.startswith(FOUND_PREFIX)
    ]
    now = {target.corpus / f"{FOUND_PREFIX}{path.name[:12]}": path for path in found}
    for path, source in now.items():
        shutil.copyfile(source, path)
    for path in before:
        if path not in now:
            path.unlink()
    command.say(f"{target.name}: {len(before)} found inputs before, {len(now)} now")
