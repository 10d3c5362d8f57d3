"""Fetches and builds a third-party server, as servers.ini describes it.

    build.py NAME         into build/third-party/NAME/built
    build.py --packages   names the Debian packages that servers.ini needs, one a line

Each package is fetched by the ordinary client of its registry, at the version that servers.ini
pins. Exit status: 69 (EX_UNAVAILABLE) if one is not to be had, 1 if the build fails.
"""

import configparser
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
BUILT = HERE.parent.parent / "build" / "third-party"
UNAVAILABLE = 69
POM = """<project>
<modelVersion>4.0.0</modelVersion>
<groupId>server</groupId><artifactId>server</artifactId><version>1</version>
<dependencies>{}</dependencies>
</project>
"""
DEPENDENCY = """<dependency>
<groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>{}
</dependency>"""
ALONE = """<exclusions>
<exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion>
</exclusions>"""


class Unavailable(Exception):
    """A package is not to be had, or not at its version."""


class BuildFails(Exception):
    """The output of the command that fails."""


@dataclasses.dataclass
class Package:
    kind: str
    name: str
    version: str
    features: str = ""  # of a crate


@dataclasses.dataclass
class Stanza:
    """One server of servers.ini, which says what the keys mean."""

    name: str
    language: str
    packages: list
    command: list
    toolchain: list
    installed: list
    options: list  # of the kit
    example: str
    program: str
    edit: str
    build: str
    text: str  # all of it

    @property
    def folder(self):
        return BUILT / self.name / "built"

    @property
    def title(self):
        """For the head of its column."""
        version = self.packages[0].version
        return f"{self.name} {version} ({self.language})"


def stanzas(path=HERE / "servers.ini"):
    """The servers by name."""
    read = configparser.ConfigParser(interpolation=None, default_section="every server")
    with open(path, encoding="utf-8") as file:
        read.read_file(file)
    return {name: _stanza(name, read[name]) for name in read.sections()}


def _stanza(name, keys):
    words = {"{here}": str(BUILT / name / "built"), "{python}": sys.executable}
    return Stanza(
        name,
        keys["language"],
        [Package(*line.split()) for line in keys["packages"].strip().splitlines()],
        [_replaced(word, words) for word in keys["command"].split()],
        keys.get("toolchain", "").split(),
        keys.get("installed", "").split(),
        keys.get("options", "").split(),
        keys.get("example", ""),
        keys.get("program", ""),
        keys.get("edit", ""),
        keys.get("build", ""),
        repr(sorted(keys.items())),
    )


def _replaced(text, words):
    for word, other in words.items():
        text = text.replace(word, other)
    return text


# Fetching: each puts the packages of its kind below `here`, and returns the folder of the first.


def apt(here, packages):
    """Installed by ci/deps: only the version is looked at."""
    for each in packages:
        _check_version(each, _output(["dpkg-query", "-W", "-f", "${Version}", each.name]))
    return Path("/")


def deb(here, packages):
    """Unpacked, not installed: the inetds shut one another out, and would run as services."""
    for each in packages:
        _output(["apt-get", "download", each.name], cwd=here)
        (archive,) = here.glob(f"{each.name}_*.deb")
        _check_version(each, _output(["dpkg-deb", "-f", archive, "Version"]))
        _output(["dpkg-deb", "-x", archive, here / "unpacked"])
    return here / "unpacked"


def _check_version(package, found):
    """Debian's own revision may change: a security update has another."""
    plain = found.strip().partition(":")[2] or found.strip()
    if not plain.startswith(package.version):
        raise Unavailable(f"{package.name} is {plain}, expected {package.version}")


def crates(here, packages):
    lines = ["[package]", 'name = "server"', 'version = "0.0.0"', 'edition = "2021"']
    lines += ["[workspace]", "[dependencies]"]
    for each in packages:
        features = json.dumps(each.features.split(",") if each.features else [])
        lines.append(f'{each.name} = {{ version = "={each.version}", features = {features} }}')
    (here / "Cargo.toml").write_text("\n".join(lines) + "\n")
    (here / "src").mkdir()
    (here / "src" / "main.rs").write_text("fn main() {}\n")
    _output(["cargo", "fetch"], cwd=here)
    known = json.loads(_output(["cargo", "metadata", "--format-version", "1"], cwd=here))
    first = next(each for each in known["packages"] if each["name"] == packages[0].name)
    return Path(first["manifest_path"]).parent


def go(here, packages):
    """A package `go` is the distribution of the language itself."""
    os.environ["GOFLAGS"] = "-mod=mod"
    for each in packages:
        if each.name == "go":
            os.environ["GOTOOLCHAIN"] = f"go{each.version}"
    modules = [each for each in packages if each.name != "go"]
    lines = [f"require {each.name} v{each.version}" for each in modules]
    (here / "go.mod").write_text("\n".join(["module server", "", "go 1.21", *lines, ""]))
    if not modules:
        return Path(_output(["go", "env", "GOROOT"], cwd=here).strip())
    first = f"{modules[0].name}@v{modules[0].version}"
    return Path(json.loads(_output(["go", "mod", "download", "-json", first], cwd=here))["Dir"])


def maven(here, packages):
    """Of the first package nothing that it depends on: examples depend on all that there is."""
    texts = [
        DEPENDENCY.format(*each.name.split(":"), each.version, "" if number else ALONE)
        for number, each in enumerate(packages)
    ]
    (here / "pom.xml").write_text(POM.format("".join(texts)))
    copy = ["dependency:copy-dependencies", "-DoutputDirectory=lib"]
    _output(["mvn", "--quiet", "--batch-mode", *copy], cwd=here)
    return here / "lib"


def npm(here, packages):
    pinned = {each.name: each.version for each in packages}
    (here / "package.json").write_text(json.dumps({"private": True, "dependencies": pinned}))
    _output(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=here)
    return here / "node_modules" / packages[0].name


def pypi(here, packages):
    """Installed as usual; the examples of the first are in its source distribution."""
    _output([sys.executable, "-m", "venv", here / "venv"])
    pip = [here / "venv" / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "-q"]
    pinned = [f"{each.name}=={each.version}" for each in packages]
    _output([*pip, "install", *pinned])
    _output([*pip, "download", "--no-deps", "--no-binary", packages[0].name, "-d", here, pinned[0]])
    (archive,) = here.glob("*.tar.gz")
    shutil.unpack_archive(archive, here / "unpacked")
    (folder,) = (here / "unpacked").iterdir()
    return folder


KINDS = {each.__name__: each for each in (apt, deb, crates, go, maven, npm, pypi)}


def _output(command, cwd=None):
    """What it prints; Unavailable if it fails."""
    command = [str(each) for each in command]
    try:
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except OSError as error:
        raise Unavailable(str(error)) from error
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
        errors = [line for line in lines if "error" in line.lower()] or lines or ["no output"]
        raise Unavailable(f"{' '.join(command[:3])}: {errors[0].strip()}")
    return done.stdout


# Building.


def build(stanza):
    """Whatever is not built already."""
    made_for = stanza.folder / "built-for.txt"
    if made_for.exists() and made_for.read_text() == stanza.text:
        return
    shutil.rmtree(stanza.folder, ignore_errors=True)
    stanza.folder.mkdir(parents=True)
    for name in stanza.installed:
        if not _output(["dpkg-query", "-W", "-f", "${db:Status-Status}", name]) == "installed":
            raise Unavailable(f"{name} is not installed")
    folder = fetch(stanza)
    if stanza.example:
        extract(folder / stanza.example, stanza.edit, stanza.folder / stanza.program)
    run(stanza.build, stanza.folder, folder)
    made_for.write_text(stanza.text)


def fetch(stanza):
    """The folder of the first package."""
    kinds = dict.fromkeys(each.kind for each in stanza.packages)
    folders = [
        KINDS[kind](stanza.folder, [each for each in stanza.packages if each.kind == kind])
        for kind in kinds
    ]
    return folders[0]


def extract(example, script, program):
    """The program of an example: the whole file, or the block of it that the sed script prints."""
    program.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["sed", "-E", script, str(example)], stdout=subprocess.PIPE)
    if done.returncode != 0 or not done.stdout.strip():
        raise BuildFails(f"{example}: nothing is left of it after the edit of servers.ini")
    program.write_bytes(done.stdout)


def run(script, folder, package):
    done = subprocess.run(
        ["sh", "-ec", script],
        cwd=folder,
        env={**os.environ, "PACKAGE": str(package)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        raise BuildFails(done.stdout)


def debian_packages():
    return sorted(
        {name for each in stanzas().values() for name in each.installed}
        | {p.name for each in stanzas().values() for p in each.packages if p.kind == "apt"}
    )


def main(argument):
    if argument == "--packages":
        print("\n".join(debian_packages()))
        return 0
    try:
        build(stanzas()[argument])
    except Unavailable as error:
        print(error)
        return UNAVAILABLE
    except BuildFails as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
