"""Adds SPEC.md, the scenarios and the licence to the package: in a checkout they lie outside it."""

import pathlib

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "touchstone_conform"


class CustomBuildHook(BuildHookInterface):
    """An sdist has them inside already, so that a wheel can be built from it alone."""

    def initialize(self, version, build_data):
        if (pathlib.Path(self.root) / PACKAGE / "SPEC.md").exists():
            return
        checkout = pathlib.Path(self.root).parent
        included = {checkout / "SPEC.md": f"{PACKAGE}/SPEC.md"}
        for path in sorted((checkout / "tests" / "scenarios").glob("*.scenario")):
            included[path] = f"{PACKAGE}/scenarios/{path.name}"
        for path, inside in included.items():
            if not path.is_file():
                raise FileNotFoundError(f"{path}: expected in a checkout of Touchstone")
            build_data["force_include"][str(path)] = inside
        if self.target_name == "sdist":
            build_data["force_include"][str(checkout / "LICENSE")] = "LICENSE"
