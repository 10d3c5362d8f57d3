"""What a finding is, in the smallest form, and how to see it again."""

import os
import shlex
import shutil
import subprocess

from .. import command, tree
from . import targets, under

SHRINK_S = 10
# What libFuzzer gets beyond that: its own limit does not hold for the runs that it starts.
SHRINK_LATE_S = 20

# What real sockets cannot obey; and what a scenario that nobody wrote expects of clients
# may be wrong. What must hold of any scenario is judged without expectations.
SIMULATED_WORDS = (
    "simulated", "seed", "vary", "kernel", "fault", "short-receive", "short-send", "report"
)
EXPECTING_WORDS = ("expect", "expect-end", "expect-close")


def explain(target, path, place):
    """Prints a finding, and leaves its small form in a folder of its own."""
    folder = tree.fresh_folder(place / "finding")
    if isinstance(target, under.Server):
        explain_simulated(target, path, folder)
        return
    build = targets.Build("fuzz-libfuzzer", [target.name], target.top)
    small = minimised(build, target, path, folder / "input")
    command.say(f"\n------ {tree.shown(path)}, minimised:")
    command.say(output_of(build, target, small))
    if target.name == "server":
        explain_scenario(build, small, folder)
    else:
        command.say(dump(small.read_bytes()))
    command.say(f"replay: {shown(build.fuzzer(target.name), small)}")


def minimised(build, target, path, small):
    """Has libFuzzer minimise it; it stays as it was if that takes too long or does not fail."""
    shutil.copyfile(path, small)
    exact = f"-exact_artifact_path={small.relative_to(target.top)}"
    try:
        build.libfuzzer(
            target.name, "-minimize_crash=1", f"-max_total_time={SHRINK_S}", exact, path,
            timeout=SHRINK_S + SHRINK_LATE_S,
        )
    except subprocess.TimeoutExpired:
        command.progress(f"{target.name}: minimising was ended after {SHRINK_S + SHRINK_LATE_S} s")
    return small


def output_of(build, target, path):
    """The lines in which the target, or a sanitizer, says what is wrong."""
    done = build.libfuzzer(target.name, path)
    if done.returncode == 0:
        return "no failure under libFuzzer: replay it with the engine's own build"
    lines = done.stdout.splitlines()
    end = next((i for i, line in enumerate(lines) if line.startswith("SUMMARY:")), len(lines))
    return "\n".join(line for line in lines[:end] if is_telling(line, target.top))


def is_telling(line, top):
    """Keeps a stack's frames of this tree, and nothing of what the engine says of itself."""
    if line.lstrip().startswith("#"):
        return f"{top}/" in line and "/build/" not in line
    return line.strip() and not line.startswith(("INFO: ", "NOTE: ", "Running: ", "      "))


def dump(content):
    """Shows it as hexadecimal and text, 16 bytes a line."""
    lines = []
    for at in range(0, min(len(content), 512), 16):
        row = content[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:04x}  {row.hex(' '):47}  {text}")
    return "\n".join(lines)


def explain_scenario(build, path, folder):
    """The scenario as text: shrunk if the oracle judges it, plain if the process itself dies."""
    text = command.output_of([build.scenario, "text", path])
    run = [build.scenario, "run", "--oracle-only"]
    if command.run([*run, path], env=targets.environment()).returncode == command.FAILED:
        text = command.output_of([build.scenario, "shrink", path])
    written, sockets = folder / "finding.scenario", folder / "sockets.scenario"
    written.write_text(text, encoding="utf-8")
    sockets.write_text(for_sockets(text), encoding="utf-8")
    command.say(f"\n{text}")
    command.say(f"replay in the simulator: {shown(*run, '--trace', written)}")
    command.say(
        "replay over real sockets, without what only a simulated kernel does: "
        f"ci/conform reference release gcc --replay {shown(sockets)}"
    )


def explain_simulated(server, path, folder):
    """Explains one of a server under the simulated kernel. Over real sockets the kit judges it."""
    written, sockets = folder / "finding.scenario", folder / "sockets.scenario"
    text = shrunk(server, path)
    written.write_text(text, encoding="utf-8")
    sockets.write_text(for_sockets(text), encoding="utf-8")
    command.say(f"\n------ {tree.shown(path)}, as a scenario:\n\n{text}")
    command.say(server.simulate("run", "--oracle-only", written, stderr=subprocess.DEVNULL).stdout)
    command.say("replay in the simulator: " + shown(
        server.scenario, "run", "--trace", "--oracle-only", written, "--under", server.alone))
    kit = [tree.TOP / ".venv" / "bin" / "touchstone-conform", "--replay", sockets, "--",
           *shlex.split(server.alone)]
    status = command.run(kit, cwd=os.getcwd()).returncode
    command.say(f"replay over real sockets: {shown(*kit)}")
    command.say("  " + {
        command.PASSED: "it does not fail there: it takes what only a simulated kernel does",
        command.FAILED: "it fails there, too",
    }.get(status, f"it was not judged there: the status is {status}"))


def shrunk(server, path):
    """Gives it as text, as it was found if it cannot be shrunk, or not in time."""
    try:
        done = server.simulate("shrink", path, stderr=subprocess.DEVNULL, timeout=under.SHRINK_S)
        if done.returncode in (command.PASSED, under.NOT_JUDGED):
            lines = done.stdout.splitlines(keepends=True)
            return "".join(line for line in lines if not line.startswith("not judged"))
        command.progress(f"{tree.shown(path)}: not shrunk: {done.stdout.strip()}")
    except subprocess.TimeoutExpired:
        command.progress(f"{tree.shown(path)}: shrinking was ended after {under.SHRINK_S} s")
    return command.output_of([server.scenario, "text", path])


def for_sockets(text):
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines if line.split()[0] not in SIMULATED_WORDS + EXPECTING_WORDS]
    return "".join(kept)


def shown(*arguments):
    """A command as one would type it at the top of the tree."""
    return shlex.join(
        str(each) if isinstance(each, str) else tree.shown(each) for each in arguments
    )
