"""Shows what the committed corpora reach, and how the runs went, as one page."""

import base64
import csv
import html
import subprocess

from .. import command, tree
from . import reached, targets

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
    all_of_it = reached.Coverage(names)
    text = "\n".join(reached.table(list(all_of_it.rows())))
    plots = [plot(name) for name in names if runs_of(name)]
    page = PAGE.format(
        table=html.escape(text), source=html.escape(all_of_it.page()),
        plots="\n".join(plots) or "<p>No run so far: ci/fuzz libfuzzer server 60</p>",
    )
    path = tree.TOP / targets.FOUND / "report.html"
    path.write_text(page, encoding="utf-8")
    command.say(text)
    command.say(f"{tree.shown(path)}: {len(plots)} plots, {len(page) // 1024} KiB")


def runs_of(name):
    """The last run of each engine: its progress file."""
    target = targets.Target(name)
    paths = (target.place(each, name, "run", "progress.csv") for each in ("libfuzzer", "afl"))
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
    drawn = command.output_of(["gnuplot", "-e", script], stderr=subprocess.PIPE)
    picture = base64.b64encode(drawn.encode()).decode()
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
