"""Folds what the engines found into the committed corpora."""

import shutil

from . import tree

# Files whose name begins so were found by an engine; all others were written by hand and stay.
FOUND_PREFIX = "found-"
BYTES_MAX = 1 << 20


def merge(names):
    for name in names:
        merge_one(name)
    size = sum(path.stat().st_size for path in tree.FUZZ.glob("corpus/*/*"))
    tree.say(f"fuzz/corpus: {size:,} bytes in all (at most {BYTES_MAX:,})")
    if size > BYTES_MAX:
        raise tree.CannotRun("the corpora are larger than they should be")


def merge_one(name):
    """What is written by hand, and the smallest inputs that add something to it."""
    build = tree.Build("fuzz-libfuzzer", [name])
    place = tree.FOUND / "merge" / name
    merged = tree.fresh_folder(place / "merged")
    committed = tree.corpus(name)
    committed.mkdir(parents=True, exist_ok=True)
    known = set()
    for folder in tree.seed_folders(name, build, place):
        for path in tree.inputs(folder):
            if not path.name.startswith(FOUND_PREFIX):
                shutil.copyfile(path, merged / path.name)
                known.add(path.name)
    finds = [tree.FOUND / engine / name / "corpus" for engine in ("libfuzzer", "afl")]
    sources = [committed, *(folder for folder in finds if folder.is_dir())]
    # An edge is worth a file, how often it is taken is not: what is committed is to be looked at.
    command = [build.fuzzer(name), "-set_cover_merge=1", "-use_counters=0", merged, *sources]
    tree.output_of(command)
    found = [path for path in tree.inputs(merged) if path.name not in known]
    before = [path for path in tree.inputs(committed) if path.name.startswith(FOUND_PREFIX)]
    for path in before:
        path.unlink()
    for path in found:
        shutil.copyfile(path, committed / f"{FOUND_PREFIX}{path.name[:12]}")
    tree.say(f"{name}: {len(before)} found inputs before, {len(found)} now")
