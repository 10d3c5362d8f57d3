"""Draws a page as people see it: pictures.py FOLDER PAGE [ANCHOR]."""

import pathlib
import sys

from browsing import open_browser

SIZE = {"width": 1180, "height": 860}


def main(folder, page_path, anchor=None):
    folder, address = pathlib.Path(folder), pathlib.Path(page_path).resolve().as_uri()
    with open_browser() as browser:
        for scheme in ("light", "dark"):
            page = browser.new_page(color_scheme=scheme, viewport=SIZE, device_scale_factor=1)
            page.goto(address)
            page.screenshot(path=folder / f"{scheme}.png")
            if scheme == "light":
                page.pdf(path=folder / "paper.pdf", format="A4", landscape=True)
            if anchor:
                page.evaluate("anchor => { location.hash = anchor; }", anchor)
                page.locator("dialog .evidence").wait_for()
                page.screenshot(path=folder / f"{scheme}-cell.png")
    print(*sorted(folder.iterdir()), sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
