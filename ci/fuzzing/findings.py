"""What a finding is, in the smallest form, and how to see it again."""

import shutil
import subprocess

from . import tree

SHRINK_S = 10
FAILED = 1

# What real sockets cannot obey; and what a scenario that nobody wrote expects of clients
# may be wrong. What must hold of any scenario is judged without being said.
SIMULATED_WORDS = (
    "simulated", "seed", "vary", "kernel", "fault", "short-receive", "short-send", "report"
)
EXPECTING_WORDS = ("expect", "expect-end", "expect-close")


def explain(target, path, place):
    """Prints a finding, and leaves its small form in a folder of its own."""
    folder = tree.fresh_folder(place / "finding")
    build = tree.Build("fuzz-libfuzzer", [target])
    small = minimised(build.fuzzer(target), path, folder / "input")
    tree.say(f"\n------ {tree.shown(path)}, minimised:")
    tree.say(said_of(build.fuzzer(target), small))
    if target == "server":
        explain_scenario(build, small, folder)
    else:
        tree.say(dump(small.read_bytes()))
    tree.say(f"replay it: {tree.shown(build.fuzzer(target))} {tree.shown(small)}")


def minimised(fuzzer, path, small):
    """By libFuzzer; as it was if that gives none, as when it takes too long or does not fail."""
    shutil.copyfile(path, small)
    subprocess.run(
        [fuzzer, "-minimize_crash=1", f"-max_total_time={SHRINK_S}",
         f"-exact_artifact_path={small}", path],
        cwd=tree.TOP, env=tree.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    return small


def said_of(fuzzer, path):
    """The lines in which the target, or a sanitizer, says what is wrong."""
    done = subprocess.run(
        [fuzzer, path], cwd=tree.TOP, env=tree.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if done.returncode == 0:
        return "it does not fail under libFuzzer: replay it with the engine's own build"
    lines = done.stdout.decode(errors="replace").splitlines()
    end = next((i for i, line in enumerate(lines) if line.startswith("SUMMARY:")), len(lines))
    return "\n".join(line for line in lines[:end] if is_telling(line))


def is_telling(line):
    """Of a stack, the frames of this tree; nothing of what the engine says of itself."""
    if line.lstrip().startswith("#"):
        return f"{tree.TOP}/" in line and "/build/" not in line
    return line.strip() and not line.startswith(("INFO: ", "NOTE: ", "Running: ", "      "))


def dump(content):
    """As hexadecimal and text, 16 bytes a line."""
    lines = []
    for at in range(0, min(len(content), 512), 16):
        row = content[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:04x}  {row.hex(' '):47}  {text}")
    return "\n".join(lines)


def explain_scenario(build, path, folder):
    """The scenario as text: shrunk if the oracle judges it, plain if the process itself dies."""
    text = tree.output_of([build.scenario, "text", path])
    run = [build.scenario, "run", "--oracle-only"]
    done = subprocess.run(
        [*run, path], env=tree.environment(), stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    if done.returncode == FAILED:
        text = tree.output_of([build.scenario, "shrink", path])
    written = folder / "finding.scenario"
    written.write_bytes(text)
    sockets = folder / "sockets.scenario"
    sockets.write_bytes(for_sockets(text))
    tree.say(f"\n{text.decode()}")
    command = [tree.shown(build.scenario), *run[1:], "--trace", tree.shown(written)]
    tree.say(f"in the simulator: {' '.join(command)}")
    tree.say(
        "over real sockets, less what only a simulated kernel does: "
        f"ci/sockets release gcc --replay {tree.shown(sockets)}"
    )


def for_sockets(text):
    lines = text.decode().splitlines(keepends=True)
    kept = [line for line in lines if line.split()[0] not in SIMULATED_WORDS + EXPECTING_WORDS]
    return "".join(kept).encode()
