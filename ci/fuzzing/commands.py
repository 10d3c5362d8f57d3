"""What no other check uses of the command line: that a run which is ended says what it has seen,
that machines share what they find, and that finds are folded into the corpora: in a copy of the
tree, with a target that is quick to build. And that all targets run: here, where they are built.
"""

import re
import signal
import subprocess

from . import corpora, engines, tree

TARGET = "token"
SHORT_S = 2
# How long a run would take that is to be ended before.
LONG_S = 60
OTHER = "another-machine"
ENDED = 130


def check():
    copy = tree.fresh_folder(tree.FOUND / "commands")
    tree.copy_tree(copy)
    for engine in engines.ENGINES:
        a_run_is_ended(copy, engine)
    libfuzzers_share(copy, copy / "shared")
    machines_share(copy, copy / "campaign")
    finds_are_merged(copy)
    all_run()


def run(top, status, *words):
    """What ci/fuzz says; it has to end with that status."""
    done = subprocess.run(
        [top / "ci" / "fuzz", *map(str, words)], cwd=top, env=tree.environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )
    ended = f"{words} ended with {done.returncode}, expected {status}"
    expect(done.returncode == status, f"{ended}:\n{done.stdout}")
    return done.stdout


def expect(true, otherwise):
    if not true:
        raise tree.CannotRun(otherwise)


def a_run_is_ended(copy, engine):
    """As soon as it has executed something."""
    run_long = subprocess.Popen(
        [copy / "ci" / "fuzz", engine, TARGET, str(LONG_S)], cwd=copy, env=tree.environment(),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )
    with run_long:
        for line in run_long.stdout:
            if re.match(r" *\d+ s  [1-9]", line):
                run_long.send_signal(signal.SIGTERM)
                break
        said = run_long.stdout.read()
    summary = re.search(r"[1-9][\d,]* executions in ([\d.]+) s.*; no finding", said)
    ended = f"{engine} was ended: status {run_long.returncode}, expected {ENDED}"
    expect(run_long.returncode == ENDED, f"{ended}:\n{said}")
    expect(summary, f"{engine} was ended, and does not say what it has seen:\n{said}")
    expect(float(summary.group(1)) < LONG_S, f"{engine} was not ended early:\n{said}")
    tree.say(f"a run under {engine} was ended: {summary.group(0)}")


def libfuzzers_share(copy, folder):
    run(copy, 0, "libfuzzer", TARGET, SHORT_S, "--sync", folder)
    expect(tree.inputs(folder), f"libfuzzer left nothing in {folder}")
    tree.say(f"libfuzzer shares {len(tree.inputs(folder))} inputs")


def machines_share(copy, folder):
    """The first one there has the main instance; one that comes while that runs (it has a file that
    says so) is secondary, and takes what it found."""
    run(copy, 0, "afl", TARGET, SHORT_S, "--sync", folder)
    expect(" -M " in own_command(folder), "the first machine has no main instance")
    (mine,) = folder.iterdir()
    mine.rename(folder / OTHER)
    (folder / OTHER / "is_main_node").touch()
    run(copy, 0, "afl", TARGET, SHORT_S, "--sync", folder)
    expect(" -S " in own_command(folder), "the second machine is not secondary")
    expect((mine / ".synced" / OTHER).exists(), f"nothing was taken from {OTHER}")
    tree.say("a second machine is secondary, and takes what the first one found")


def own_command(folder):
    (stats,) = (path for path in folder.glob("*/fuzzer_stats") if path.parent.name != OTHER)
    return re.search("^command_line.*", stats.read_text(), re.MULTILINE).group()


def finds_are_merged(copy):
    """What the runs before have found, without what adds nothing; what is written by hand stays."""
    corpus = copy / "fuzz" / "corpus" / TARGET
    by_hand, found = [], []
    for path in tree.inputs(corpus):
        (found if path.name.startswith(corpora.FOUND_PREFIX) else by_hand).append(path)
    expect(found, f"{TARGET} has no found inputs, so that nothing is shown here")
    for path in found:
        path.unlink()
    again = corpus / f"{corpora.FOUND_PREFIX}again"
    again.write_bytes(by_hand[0].read_bytes())
    tree.say(run(copy, 0, "merge", TARGET).rstrip())
    now = tree.inputs(corpus)
    expect(set(by_hand) <= set(now), f"inputs of {TARGET} were lost that were written by hand")
    expect(set(by_hand) != set(now), f"of {TARGET} no input that was found was merged")
    expect(again not in now, "an input that adds nothing was kept")
    by_hand[0].write_bytes(bytes(corpora.BYTES_MAX + 1))
    said = run(copy, 3, "merge", TARGET)
    expect("larger than they should be" in said, f"corpora that are too large:\n{said}")


def all_run():
    said = run(tree.TOP, 0, "all", 1, "--jobs", 2)
    ran = sorted(re.findall(r"^(\w+), libfuzzer: .* executions in .*; no finding$", said, re.M))
    expect(ran == tree.honest_targets(), f"all ran {ran}, expected {tree.honest_targets()}")
    tree.say(f"all {len(ran)} targets ran")
