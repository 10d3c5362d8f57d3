"""Builds as OSS-Fuzz and ClusterFuzzLite do, and judges what they would get.

Imitated is what their base-builder image sets: compilers, flags and engine in the environment, a
copy of the tree in $SRC, an old CMake, and nothing of this tree's own configuration.
"""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

from . import tree

BASE_FLAGS = (
    "-O1 -fno-omit-frame-pointer -gline-tables-only -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION "
    "-fsanitize=address -fsanitize-address-use-after-scope"
)
OLD_CMAKE = tree.TOP / ".venv" / "bin" / "cmake"
RUNS = 100


def afl_driver():
    """The library that AFL++ puts behind -fsanitize=fuzzer; the images give its path."""
    found = Path(shutil.which("afl-clang-fast")).parent.parent / "lib" / "afl" / "libAFLDriver.a"
    if not found.exists():
        raise tree.CannotRun(f"{found} is missing")
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
    },
}


def build(engine):
    """Gives $OUT."""
    place = tree.fresh_folder(tree.FOUND / "oss-fuzz" / engine)
    folders = {name: place / name.lower() for name in ("SRC", "OUT", "WORK")}
    for folder in [*folders.values(), place / "bin"]:
        folder.mkdir()
    if OLD_CMAKE.exists():
        (place / "bin" / "cmake").symlink_to(OLD_CMAKE)
    tree.copy_tree(folders["SRC"] / "touchstone")
    shutil.copy(tree.TOP / ".clusterfuzzlite" / "build.sh", folders["SRC"])
    flags = ENGINES[engine](place)
    environment = {
        "HOME": str(place), "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
        "SANITIZER": "address", "FUZZING_ENGINE": engine, "FUZZING_LANGUAGE": "c",
        "ARCHITECTURE": "x86_64", **{name: str(folder) for name, folder in folders.items()},
        **flags, "CXXFLAGS": flags["CFLAGS"],
    }
    done = subprocess.run(
        ["bash", "-eux", folders["SRC"] / "build.sh"], cwd=folders["SRC"] / "touchstone",
        env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        raise tree.CannotRun(f"build.sh fails with {engine}:\n{done.stdout.decode()}")
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
    for name in tree.honest_targets():
        fuzzer, seeds = out / f"{name}_fuzzer", out / f"{name}_fuzzer_seed_corpus.zip"
        committed = {
            out / f"{name}_fuzzer.dict": tree.dictionary(name) is not None,
            out / f"{name}_fuzzer.options": (tree.FUZZ / f"{name}_fuzzer.options").exists(),
        }
        missing = [path for path in (fuzzer, seeds) if not path.exists()]
        missing += [path for path, there in committed.items() if there and not path.exists()]
        yield from (f"{path.name} is missing" for path in missing)
        if not missing:
            yield from complaints_of_start(engine, fuzzer, seeds)


def complaints_of_start(engine, fuzzer, seeds):
    corpus = tree.fresh_folder(fuzzer.parent.parent / "corpora" / fuzzer.name)
    with zipfile.ZipFile(seeds) as archive:
        archive.extractall(corpus)
    if not tree.inputs(corpus):
        yield f"{seeds.name} is empty"
        return
    done = subprocess.run(
        STARTS[engine](fuzzer, corpus), env=tree.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace")[-2000:]
        yield f"{fuzzer.name} ends with status {done.returncode} on its corpus:\n{said}"


def check():
    """Both builds give all that is expected."""
    found = []
    for engine in ENGINES:
        wrong = list(complaints(engine, build(engine)))
        found += [f"{engine}: {complaint}" for complaint in wrong]
        if not wrong:
            tree.say(f"{engine}: {len(tree.honest_targets())} fuzzers, each runs on its corpus")
    if found:
        raise tree.CannotRun("\n".join(found))


def prove():
    """What is taken from a good build, or broken in it, is missed."""
    out = build("libfuzzer")
    if list(complaints("libfuzzer", out)):
        raise tree.CannotRun("the build is not good to begin with")
    name = f"{tree.honest_targets()[0]}_fuzzer"
    spoil(out / name, "is missing", lambda path: path.unlink())
    spoil(out / name, "ends with status 1", lambda path: shutil.copy(shutil.which("false"), path))
    spoil(out / f"{name}_seed_corpus.zip", "is missing", lambda path: path.unlink())
    spoil(out / f"{name}_seed_corpus.zip", "is empty", lambda path: zipfile.ZipFile(path, "w"))


def spoil(path, demanded, how):
    kept = path.with_name("kept")
    shutil.copy(path, kept)
    how(path)
    found = [each.splitlines()[0] for each in complaints("libfuzzer", path.parent)]
    kept.replace(path)
    if len(found) != 1 or demanded not in found[0]:
        raise tree.CannotRun(f"{path.name} was spoilt so that it {demanded}, but: {found}")
    tree.say(f"seen: {found[0]}")
