"""A headless Chromium that the system has."""

import contextlib
import shutil

try:
    from playwright.sync_api import Error, sync_playwright
except ImportError:
    sync_playwright = None

PROGRAMS = ("chromium", "google-chrome")
# Without network requests of its own; it may run as root and in a container.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


class NoBrowser(Exception):
    """This machine has none."""


@contextlib.contextmanager
def open_browser():
    if sync_playwright is None:
        raise NoBrowser("tool: requires Playwright")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise NoBrowser("tool: requires Chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()
