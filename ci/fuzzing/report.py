"""Shows what the committed corpora reach, and how the runs went."""

import base64
import csv
import html
import subprocess
from pathlib import Path

from . import counted, tree

# In percent, of what the committed corpora alone reach in the core: lines and branches.
CORE_FLOORS = (100, 98)
# Where what they do not reach has to be listed, with the reason.
EXPLAINED = ("src/shell/server.c", "src/shell/poller_epoll.c", "src/shell/poller_kqueue.c")


class Coverage:
    """Of the source, by the corpora of some targets."""

    def __init__(self, names):
        place = tree.fresh_folder(tree.FOUND / "coverage")
        build = tree.Build("coverage", names)
        for name in names:
            replay(build, name, place)
        programs = [build.fuzzer(name) for name in names]
        raw = sorted(place.glob("*.profraw"))
        self.counted = counted.Counted(place / "all.profdata", raw, programs)

    def rows(self):
        """(file, (lines reached, lines), (branches reached, branches)), those with code."""
        for name, entry in self.counted.files("--summary-only").items():
            kinds = (entry["summary"][kind] for kind in ("lines", "branches"))
            yield name, *((each["covered"], each["count"]) for each in kinds)

    def unreached(self):
        """(file, line of source) of each line, and of each branch, that was never taken."""
        for line in self.counted.llvm_cov("export", "--format=lcov").decode().splitlines():
            what, _, rest = line.partition(":")
            if what == "SF":
                name = tree.shown(rest)
                source = Path(rest).read_text().splitlines()
            elif what in ("DA", "BRDA"):
                numbers = rest.split(",")
                text = source[int(numbers[0]) - 1].strip()
                if numbers[-1] in ("0", "-") and text != "}":
                    yield name, text

    def page(self):
        return self.counted.llvm_cov("show", "--format=html", "--show-branches=count").decode()


def replay(build, name, place):
    folders = tree.seed_folders(name, build, tree.FOUND / "coverage" / name)
    if not folders:
        raise tree.CannotRun(f"{name} has no corpus")
    environment = tree.environment(LLVM_PROFILE_FILE=str(place / f"{name}.profraw"))
    done = subprocess.run(
        [build.fuzzer(name), *folders], env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )
    if done.returncode != 0:
        raise tree.CannotRun(f"{name} fails on its corpus:\n{done.stdout.decode()}")


def percent(reached, of):
    return 100 * reached / of if of else 100


def sum_of(rows, folder):
    """(lines, branches) of all files there."""
    rows = [row for row in rows if row[0].startswith(folder)]
    return tuple(tuple(map(sum, zip(*(row[kind] for row in rows)))) for kind in (1, 2))


def table(rows):
    """As text: a line a file, and the core as a whole."""
    yield f"{'file':32} {'lines':>16} {'branches':>16}"
    for name, *counts in [*rows, ("src/core", *sum_of(rows, "src/core/"))]:
        cells = (f"{reached}/{of} {percent(reached, of):5.1f}" for reached, of in counts)
        yield f"{name:32} " + " ".join(f"{cell:>16}" for cell in cells)


def explained():
    """What fuzz/unreached lists: a line of source behind its file, and then, indented, why."""
    listed = {}
    for line in (tree.FUZZ / "unreached").read_text().splitlines():
        if line[:1] == " " and listed:
            listed[key] += line.strip()
        elif line.strip() and line[0] != "#":
            key = tuple(line.split(": ", 1))
            listed[key] = ""
    return listed


class Gate:
    """What the committed corpora have to reach, and what they do."""

    def __init__(self, names):
        measured = Coverage(names)
        self.rows = list(measured.rows())
        self.missed = {key for key in measured.unreached() if key[0] in EXPLAINED}
        self.listed = explained()
        self.floors = CORE_FLOORS

    def complaints(self):
        reached = [percent(*counts) for counts in sum_of(self.rows, "src/core/")]
        for kind, floor, found in zip(("lines", "branches"), self.floors, reached):
            if found < floor:
                yield f"src/core: {found:.1f} % of the {kind} (at least {floor} expected)"
        for name, line in sorted(self.missed - self.listed.keys()):
            yield f"{name}: {line}: not reached (expected, or a reason in fuzz/unreached)"
        for (name, line), reason in self.listed.items():
            if (name, line) not in self.missed:
                yield f"{name}: {line}: reached, or no more there, but in fuzz/unreached"
            if not reason:
                yield f"{name}: {line}: no reason in fuzz/unreached (expected, below it)"


def coverage(names):
    """Prints the table, and what is wrong; false if there is anything."""
    gate = Gate(names)
    tree.say("\n".join(table(gate.rows)))
    found = list(gate.complaints())
    tree.say("\n".join(found) or f"{len(gate.listed)} lines are unreached for the reasons listed")
    return not found


def coverage_prove(names):
    """Whatever is not as it should be is complained of."""
    gate = Gate(names)
    if list(gate.complaints()):
        raise tree.CannotRun("the corpora do not reach enough to begin with")
    first = next(iter(gate.listed))
    other = ("src/shell/server.c", "a line that is not there")
    good = gate.listed
    without_first = {key: reason for key, reason in good.items() if key != first}
    for demanded, gate.floors, gate.listed in (
        ("of the lines (at least", (101, 98), good),
        ("of the branches (at least", (100, 101), good),
        ("not reached", CORE_FLOORS, without_first),
        ("no more there", CORE_FLOORS, {**good, other: "why not"}),
        ("no reason", CORE_FLOORS, {**good, first: ""}),
    ):
        found = list(gate.complaints())
        if len(found) != 1 or demanded not in found[0]:
            raise tree.CannotRun(f"'{demanded}' was to be complained of, but: {found}")
        tree.say(f"seen: {found[0]}")


# ---- The page

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Touchstone: fuzzing</title>
<style>
body {{ font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 72em; padding: 0 1em }}
iframe {{ border: 1px solid #ccc; width: 100%; height: 80vh }}
img {{ max-width: 100% }}
</style>
<h1>Touchstone: fuzzing</h1>
<h2>What the committed corpora reach</h2>
<pre>{table}</pre>
<h2>Coverage over time</h2>
{plots}
<h2>The source, line by line</h2>
<iframe srcdoc="{source}"></iframe>
</html>
"""


def report(names):
    """One page that needs nothing beside itself."""
    all_of_it = Coverage(names)
    text = "\n".join(table(list(all_of_it.rows())))
    plots = [plot(name) for name in names if runs_of(name)]
    page = PAGE.format(
        table=html.escape(text), source=html.escape(all_of_it.page()),
        plots="\n".join(plots) or "<p>No run so far: ci/fuzz libfuzzer server 60</p>",
    )
    path = tree.FOUND / "report.html"
    path.write_text(page)
    tree.say(text)
    tree.say(f"{tree.shown(path)}: {len(plots)} plots, {len(page) // 1024} KiB")


def runs_of(name):
    """The last run of each engine: its progress file."""
    paths = (tree.FOUND / engine / name / "run" / "progress.csv" for engine in ("libfuzzer", "afl"))
    return [path for path in paths if path.exists()]


def plot(name):
    """Drawn by gnuplot. The engines count edges each in its own way, so that only the shapes can be
    compared."""
    lines, notes = [], []
    for path in runs_of(name):
        engine = path.parent.parent.parent.name
        lines.append(f'"{path}" using 1:3 with steps linewidth 2 title "{engine}"')
        notes.append(f"{engine}: {last_of(path)}")
    script = (
        "set terminal svg size 860,320 background 'white'; set datafile separator comma; "
        "set key autotitle columnhead bottom right; set grid; set yrange [0:*]; set logscale x; "
        f"set title '{name}'; set xlabel 'seconds'; set ylabel 'edges'; plot {', '.join(lines)}"
    )
    picture = base64.b64encode(tree.output_of(["gnuplot", "-e", script])).decode()
    return (
        f'<img alt="edges over time: {name}" src="data:image/svg+xml;base64,{picture}">'
        f"<p>{html.escape('; '.join(notes))}</p>"
    )


def last_of(path):
    with open(path, newline="") as file:
        last = list(csv.DictReader(file))[-1]
    return (
        f"{int(last['execs']):,} executions in {float(last['seconds']):.0f} s, "
        f"{int(last['edges']):,} edges, corpus {int(last['corpus']):,}"
    )
