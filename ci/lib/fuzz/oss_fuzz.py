"""Builds as OSS-Fuzz and ClusterFuzzLite do, and judges what they would get.

What their base-builder image sets is imitated: compilers, flags and engine in the environment, a
copy of the tree in $SRC, an old CMake, and nothing of this tree's own configuration.
"""

import os
import shutil
import zipfile
from pathlib import Path

from .. import command, tree
from . import targets

BASE_FLAGS = (
    "-O1 -fno-omit-frame-pointer -gline-tables-only -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION "
    "-fsanitize=address -fsanitize-address-use-after-scope"
)
PLACE = tree.TOP / targets.FOUND / "oss-fuzz"
OLD_CMAKE = tree.TOP / ".venv" / "bin" / "cmake"
RUNS = 100


def afl_driver():
    """The library that AFL++ puts behind -fsanitize=fuzzer; the images give its path."""
    found = Path(shutil.which("afl-clang-fast")).parent.parent / "lib" / "afl" / "libAFLDriver.a"
    if not found.exists():
        raise command.CannotRun(f"{found} is missing")
    return found


ENGINES = {
    "libfuzzer": lambda place: {
        "CC": "clang",
        "CXX": "clang++",
        "CFLAGS": f"{BASE_FLAGS} -fsanitize=fuzzer-no-link",
        "LIB_FUZZING_ENGINE": "-fsanitize=fuzzer",
    },
    "afl": lambda place: {
        "CC": "afl-clang-fast",
        "CXX": "afl-clang-fast++",
        "CFLAGS": BASE_FLAGS,
        "LIB_FUZZING_ENGINE": str(shutil.copy(afl_driver(), place / "libFuzzingEngine.a")),
        "AFL_QUIET": "1",
        # The preset fuzz-afl has it, too: what AFL++ 4.04 adds for selects reads past its table.
        "AFL_LLVM_INSTRUMENT": "LLVM-NATIVE",
    },
}


def build(engine, place):
    """Gives $OUT."""
    tree.fresh_folder(place)
    folders = {name: place / name.lower() for name in ("SRC", "OUT", "WORK")}
    for folder in [*folders.values(), place / "bin"]:
        folder.mkdir()
    if OLD_CMAKE.exists():
        (place / "bin" / "cmake").symlink_to(OLD_CMAKE)
    tree.copy(folders["SRC"] / "touchstone")
    shutil.copy(tree.TOP / ".clusterfuzzlite" / "build.sh", folders["SRC"])
    flags = ENGINES[engine](place)
    environment = {
        "HOME": str(place), "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "SANITIZER": "address", "FUZZING_ENGINE": engine, "FUZZING_LANGUAGE": "c",
        "ARCHITECTURE": "x86_64", **{name: str(folder) for name, folder in folders.items()},
        **flags, "CXXFLAGS": flags["CFLAGS"],
    }
    command.output_of(
        ["bash", "-eux", folders["SRC"] / "build.sh"], cwd=folders["SRC"] / "touchstone",
        env=environment,
    )
    return folders["OUT"]


# What starts a fuzzer on a folder, as their runners do.
STARTS = {
    "libfuzzer": lambda fuzzer, corpus: [fuzzer, f"-runs={RUNS}", corpus],
    "afl": lambda fuzzer, corpus: [
        "afl-showmap", "-i", corpus, "-o", corpus.with_suffix(".maps"), "--", fuzzer
    ],
}


def complaints(engine, out):
    """What is wrong with $OUT; nothing, if all is well."""
    for name in targets.honest_names():
        target = targets.Target(name)
        fuzzer, seeds = out / f"{name}_fuzzer", out / f"{name}_fuzzer_seed_corpus.zip"
        wanted = [fuzzer, seeds]
        if target.dictionary:
            wanted.append(out / f"{name}_fuzzer.dict")
        if target.options_file.exists():
            wanted.append(out / target.options_file.name)
        missing = [path for path in wanted if not path.exists()]
        yield from (f"{engine}: {path.name}: not there [missing]" for path in missing)
        if not missing:
            yield from complaints_of_start(engine, fuzzer, seeds)


def complaints_of_start(engine, fuzzer, seeds):
    corpus = tree.fresh_folder(fuzzer.parent.parent / "corpora" / fuzzer.name)
    with zipfile.ZipFile(seeds) as archive:
        archive.extractall(corpus)
    if not targets.inputs(corpus):
        yield f"{engine}: {seeds.name}: no inputs [empty]"
        return
    done = command.run(STARTS[engine](fuzzer, corpus), env=targets.environment())
    if done.returncode != 0:
        ended = f"status {done.returncode} on its corpus, expected 0 [status]"
        yield f"{engine}: {fuzzer.name}: {ended}\n{done.stdout[-2000:]}"


def check():
    """Both builds give all that is expected."""
    good = True
    for engine in ENGINES:
        found = list(complaints(engine, build(engine, PLACE / engine)))
        for complaint in found:
            command.say(complaint)
        good = good and not found
        count = len(targets.honest_names())
        command.say(f"{engine}: {count} fuzzers, each run on its corpus; {len(found)} complaints")
    return good
