"""Builds a preset and runs its tests in process: units, simulation, fidelity, corpora."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from . import build, command, tree

LABELS = "^(unit|fidelity|simulation|replay|under)$"
TIMEOUT_S = 120
# All that a test prints goes into the results: cmocka's tests are counted there.
OUTPUT_BYTES = 4_000_000


def run(preset: str = "dev", compiler: str = "gcc", *options: str) -> int:
    """CTest's status. With JUNIT set, the results are also written there."""
    build.check("ci/test units", preset, compiler)
    folder = build.make(build.configure(preset, compiler))
    arguments = [
        "ctest", "--test-dir", folder, "--label-regex", LABELS, "--no-tests=error",
        "--timeout", TIMEOUT_S, "--parallel", os.cpu_count(), "--output-on-failure",
        "--test-output-size-passed", OUTPUT_BYTES, "--test-output-size-failed", OUTPUT_BYTES,
    ]
    if os.environ.get("JUNIT"):
        arguments += ["--output-junit", Path(os.environ["JUNIT"]).resolve()]
    done = subprocess.run(
        [str(each) for each in [*arguments, *options]], cwd=tree.TOP, stdin=subprocess.DEVNULL,
        env={**os.environ, **build.SANITIZERS},
    )
    return command.PASSED if done.returncode == 0 else command.FAILED
