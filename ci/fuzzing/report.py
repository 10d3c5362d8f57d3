"""Shows what the committed corpora reach, and how the runs went."""

import base64
import csv
import html
import subprocess

from . import counted, tree

# In percent, of what the committed corpora alone reach in the core: lines and branches.
CORE_FLOORS = (100, 98)


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


def coverage(names):
    """Prints the table; false if the corpora do not reach enough of the core."""
    rows = list(Coverage(names).rows())
    tree.say("\n".join(table(rows)))
    reached = [percent(*counts) for counts in sum_of(rows, "src/core/")]
    for kind, floor, found in zip(("lines", "branches"), CORE_FLOORS, reached):
        if found < floor:
            tree.say(f"src/core: {found:.1f} % of the {kind} (at least {floor} expected)")
    return all(found >= floor for floor, found in zip(CORE_FLOORS, reached))


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
