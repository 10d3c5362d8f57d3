"""Adds SPEC.md, the scenarios, the simulator and the licence to the package.

In a checkout they lie outside it.
"""

import pathlib

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "touchstone_conform"
SIMULATOR = (
    *("src/core/*.c", "src/shell/*.c", "include/core/*.h", "include/shell/*.h"),
    *(f"tests/{each}/*.[ch]" for each in ("sim", "scenario", "under")),
)


class CustomBuildHook(BuildHookInterface):
    """An sdist has them inside already, so that a wheel can be built from it alone."""

    def initialize(self, version, build_data):
        if (pathlib.Path(self.root) / PACKAGE / "SPEC.md").exists():
            return
        checkout = pathlib.Path(self.root).parent
        included = {checkout / "SPEC.md": f"{PACKAGE}/SPEC.md"}
        for path in sorted((checkout / "tests" / "scenarios").glob("*.scenario")):
            included[path] = f"{PACKAGE}/scenarios/{path.name}"
        for pattern in SIMULATOR:
            for path in sorted(checkout.glob(pattern)):
                included[path] = f"{PACKAGE}/simulator/{path.relative_to(checkout)}"
        for path, inside in included.items():
            if not path.is_file():
                raise FileNotFoundError(f"{path}: expected in a checkout of Touchstone")
            build_data["force_include"][str(path)] = inside
        if self.target_name == "sdist":
            build_data["force_include"][str(checkout / "LICENSE")] = "LICENSE"
