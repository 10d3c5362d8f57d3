"""The package: it installs from a checkout without symbolic links, an sdist and a wheel."""

import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from running import INTEGRATION, ROOT

SCENARIOS = sorted(path.name for path in (ROOT / "tests" / "scenarios").glob("*.scenario"))
HATCHLING = [sys.executable, "-m", "hatchling", "build"]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
OFFLINE = ["--no-index", "--no-deps", "--no-build-isolation"]


def run(*command, **settings):
    ended = subprocess.run(command, capture_output=True, text=True, **settings)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A clone without symbolic links: git then writes each as a text file."""
    folder = tmp_path_factory.mktemp("clone") / "touchstone"
    clone = ["git", "clone", "--quiet", "--depth", "1", "-c", "core.symlinks=false"]
    if (ROOT / ".git").exists():
        run(*clone, f"file://{ROOT}", folder)
        return folder
    for name in ("integration", "src", "include", "tests"):  # an archive has no links to begin with
        shutil.copytree(ROOT / name, folder / name)
    for name in ("SPEC.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def sdist(checkout, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sdist")
    run(*HATCHLING, "-t", "sdist", "-d", folder, cwd=checkout / "integration")
    (archive,) = folder.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """Built from the sdist alone."""
    folder = tmp_path_factory.mktemp("wheel")
    run(*PIP, "wheel", *OFFLINE, "--wheel-dir", folder, sdist)
    (archive,) = folder.iterdir()
    return archive


def expect_contents(names):
    """SPEC.md, all scenarios, the simulator, and no test of the kit itself."""
    inside = [name.partition("touchstone_conform/")[2] for name in names]
    assert "SPEC.md" in inside and "report/page.html" in inside and "suite/pytest.ini" in inside
    scenarios = [name for name in inside if name.startswith("scenarios/")]
    assert sorted(scenarios) == [f"scenarios/{name}" for name in SCENARIOS]
    assert {"simulator/src/core/outcome.c", "simulator/tests/under/world.c"} <= set(inside)
    assert not any("broken/" in name or "/tests/kit" in name for name in names)


def expect_judges(folder):
    """An installed kit in this folder judges a server, with nothing of the checkout."""
    for name in ("server", "conforming", "defects"):
        shutil.copy(INTEGRATION / "broken" / f"{name}.py", folder)
    own = (
        "import sys; sys.path[0] = 'site'; import touchstone_conform as kit; print(kit.__file__);"
        "from touchstone_conform.cli.command import main; sys.exit(main())"
    )
    server = [sys.executable, "server.py", "--port", "{port}"]
    command = [sys.executable, "-c", own, "-k", "CLOSE-1", "--report", "report", "--", *server]
    output = run(*command, cwd=folder, env={"PYTHONPATH": str(folder / "site")})
    assert pathlib.Path(output.splitlines()[0]).is_relative_to(folder / "site")
    assert (folder / "report" / "index.html").exists()


def test_a_checkout_without_symbolic_links(checkout, tmp_path):
    run(*PIP, "install", *OFFLINE, "--target", tmp_path / "site", checkout / "integration")
    expect_judges(tmp_path)


def test_an_editable_install(checkout, tmp_path):
    """It uses SPEC.md and the scenarios of its checkout."""
    site = tmp_path / "site"
    run(*PIP, "install", *OFFLINE, "--target", site, "--editable", checkout / "integration")
    own = (
        f"import site; site.addsitedir({str(site)!r});"
        "from touchstone_conform import spec; print(spec.SPEC); print(spec.SCENARIOS);"
        "assert spec.read().requirements"
    )
    command = [sys.executable, "-I", "-S", "-c", own]
    found = [pathlib.Path(line) for line in run(*command).splitlines()]
    assert found == [checkout / "SPEC.md", checkout / "tests" / "scenarios"]


def test_the_contents_of_the_sdist(sdist):
    with tarfile.open(sdist) as archive:
        names = archive.getnames()
    expect_contents(names)
    root = names[0].partition("/")[0]
    for name in ("LICENSE", "README.md", "PORTING.md", "CHANGELOG.md", "hatch_build.py"):
        assert f"{root}/{name}" in names


def test_the_contents_of_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as archive:
        expect_contents(archive.namelist())


def test_a_wheel_built_from_the_sdist(wheel, tmp_path):
    run(*PIP, "install", *OFFLINE, "--target", tmp_path / "site", wheel)
    expect_judges(tmp_path)


def test_a_checkout_that_lacks_the_specification(checkout, tmp_path):
    """No package without SPEC.md is built."""
    shutil.copytree(checkout / "integration", tmp_path / "integration")
    ended = subprocess.run(
        [*HATCHLING, "-t", "wheel", "-d", tmp_path / "out"],
        cwd=tmp_path / "integration",
        capture_output=True,
        text=True,
    )
    assert ended.returncode != 0
    assert "SPEC.md" in ended.stderr
