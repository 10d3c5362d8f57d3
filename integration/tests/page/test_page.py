"""The page in a browser: it opens, filters and shows evidence, by mouse, by keys, and on paper.

Each check is a function of an open page. At the end each runs again on a page with a seeded defect,
and must fail.
"""

import json
import os
import pathlib
import re
import sys

import browsing
import pytest
from touchstone_conform.cli import command

INTEGRATION = pathlib.Path(__file__).parents[2]
BROKEN = [sys.executable, str(INTEGRATION / "broken" / "server.py"), "--port", "{port}"]
JUDGED = ["ECHO-7", "CLOSE-2", "FAIR-3", "START-1"]
SERVERS = ["python", "resets", "listed"]
FAILING = "CLOSE-2:resets"
PASSING = "START-1:python"


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """A conforming server, one that fails, and the same with expected failures."""
    folder = tmp_path_factory.mktemp("results")
    resets = [*BROKEN, "--defect", "fin-answered-with-reset", "--defect", "nagle"]
    for name, arguments in (("python", BROKEN), ("resets", resets)):
        known = folder / f"{name}.known"
        known.write_text("ECHO-7 slow\n" if name == "resets" else "")
        options = ["-k", *JUDGED, "--jobs", "1", "--report", str(folder / name)]
        command.main([*options, "--expected-failures", str(known), "--", *arguments])
    listed = json.loads((folder / "resets" / "report.json").read_text())
    listed.update(expected=["CLOSE-2", "ECHO-7"], surprises=[])
    (folder / "listed.json").write_text(json.dumps(listed))
    return [folder / "python/report.json", folder / "resets/report.json", folder / "listed.json"]


@pytest.fixture(scope="session")
def matrix(results, tmp_path_factory):
    """The page with all results."""
    path = tmp_path_factory.mktemp("matrix") / "report.html"
    assert command.main(["report", *map(str, results), "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def browser():
    try:
        with browsing.open_browser() as browser:
            yield browser
    except browsing.NoBrowser as missing:
        pytest.skip(str(missing))


@pytest.fixture
def visit(browser):
    """Opens a page in a new window, and records its messages and requests."""
    contexts = []

    def open_page(path, anchor="", **settings):
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **settings)
        context.set_default_timeout(5000)
        contexts.append(context)
        page = context.new_page()
        page.messages, page.requests = [], []
        page.on("console", lambda message: page.messages.append(message.text))
        page.on("pageerror", lambda error: page.messages.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(f"file://{path}{anchor}")
        return page

    yield open_page
    for context in contexts:
        context.close()


# The checks.


def cell(page, name):
    requirement, _, column = name.partition(":")
    return page.locator(f'.cell[aria-label^="{requirement}, {column}:"]')


def shown(page):
    return page.locator("tr.row:visible .id").all_inner_texts()


def escape(page):
    """Close the dialog, and wait until its handler ran."""
    page.keyboard.press("Escape")
    page.wait_for_function("!location.hash")


def check_alone(page):
    """It writes nothing to the console, and requests nothing but itself."""
    page.wait_for_load_state("networkidle")
    assert page.messages == []
    assert [each for each in page.requests if not each.startswith("data:")] == [page.url]


def check_table(page):
    """Each requirement, each server, and the sums."""
    assert shown(page) == JUDGED
    heads = page.locator("thead [scope=col] div:first-child").all_inner_texts()
    assert heads == SERVERS
    assert cell(page, FAILING).get_attribute("title") == "fail"
    assert cell(page, "CLOSE-2:listed").get_attribute("title") == "fail, as expected"
    assert cell(page, PASSING).get_attribute("title") == "pass"
    totals = page.locator(".totals tr:first-child td").all_inner_texts()
    totals = [each.partition("\n")[0] for each in totals]
    assert totals == ["conforms", "1 of 3 fail", "1 of 3 fail"]
    assert "CLOSE-2" in page.locator(".surprises").text_content()


def check_filters(page):
    """By level, by failure, and by both; topics without a requirement disappear."""
    page.get_by_label("SHOULD", exact=True).check()
    assert shown(page) == ["ECHO-7"]
    assert page.locator("[scope=rowgroup]:visible").all_inner_texts() == ["ECHO: the service"]
    page.get_by_label("only failures").check()
    assert shown(page) == ["ECHO-7"]
    page.get_by_label("MUST", exact=True).check()
    assert shown(page) == ["CLOSE-2"]
    assert page.get_by_role("status").inner_text() == f"1 of {len(JUDGED)} requirements"
    page.get_by_label("all", exact=True).check()
    page.get_by_label("only failures").uncheck()
    assert shown(page) == JUDGED


def check_evidence(page):
    """A click on a cell shows its evidence, and Escape returns to the cell."""
    cell(page, FAILING).click()
    dialog = page.get_by_role("dialog", name="CLOSE-2, resets: ✗ fail")
    text = dialog.inner_text()
    for due in (
        "a server MUST answer a client's FIN with FIN",
        "rst-for-fin",
        "FIN without any byte is answered",
        "touchstone-conform --only CLOSE-2 -- ",
        "--defect fin-answered-with-reset",
    ):
        assert due in text
    picture = dialog.locator("svg.timeline").first
    assert picture.is_visible()
    labels = picture.locator("text").all_text_contents()
    assert {"client", "server", "connect", "FIN", "receive RST"} <= set(labels)
    scenario = dialog.locator("pre", has_text=re.compile("^scenario 1\n")).first.inner_text()
    assert "\nshutdown a\n" in scenario
    assert re.search(r"--replay \S+\.scenario -- ", text)
    escape(page)
    assert not dialog.is_visible()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == (
        "CLOSE-2, resets: fail"
    )


def check_passing_evidence(page):
    """A requirement that passes shows its tests."""
    cell(page, PASSING).click()
    dialog = page.get_by_role("dialog")
    assert "passed test_surroundings.py::test_restart" in dialog.inner_text()
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()


def check_keys(page):
    """Tab stops once at the table; arrows, Home and End move in it; Enter opens, Escape is back."""
    page.get_by_label("only failures").focus()
    page.keyboard.press("Tab")
    focused = "document.activeElement.getAttribute('aria-label')"
    assert page.evaluate(focused) == "ECHO-7, python: pass"
    for keys, label in (
        ("ArrowDown ArrowRight", "CLOSE-2, resets: fail"),
        ("ArrowDown End", "FAIR-3, listed: pass"),
        ("ArrowRight ArrowDown ArrowDown", "START-1, listed: pass"),
        ("Home ArrowUp ArrowRight ArrowRight ArrowLeft", "FAIR-3, resets: pass"),
        ("ArrowUp", "CLOSE-2, resets: fail"),
    ):
        for key in keys.split():
            page.keyboard.press(key)
        assert page.evaluate(focused) == label
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert dialog.evaluate("each => each.matches(':modal')")
    assert page.evaluate("document.activeElement.textContent") == "Close"
    escape(page)
    assert page.evaluate(focused) == "CLOSE-2, resets: fail"
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.matches('.cell')")


def check_copying(page):
    """The button puts the scenario into the clipboard."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("navigator.clipboard.writeText('before')")
    cell(page, FAILING).click()
    page.get_by_role("button", name="Copy scenario").first.click()
    page.get_by_role("button", name="Copied").wait_for()
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("scenario 1\nconnect a\n")


def check_paper(page):
    """On paper there is no filter, and each failure with its picture."""
    page.emulate_media(media="print")
    assert not page.locator(".filters").is_visible()
    visible = page.locator("section.evidence:visible h3 .id").all_inner_texts()
    assert visible == ["ECHO-7", "ECHO-7", "CLOSE-2", "CLOSE-2"]
    assert page.locator("section.evidence:visible svg:visible").count() == len(visible)
    assert page.locator("button:visible").count() == 0
    ground = page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--card')")
    assert ground == "#ffffff"


def check_obstacles(page):
    """Nothing that axe knows as an obstacle, on the page or in the dialog; all filters at rest."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    cell(page, FAILING).click()
    found += Axe().run(page).response["violations"]
    assert [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found] == []


CHECKS = [
    check_alone,
    check_table,
    check_filters,
    check_evidence,
    check_passing_evidence,
    check_keys,
    check_copying,
    check_paper,
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_matrix(visit, matrix, check):
    check(visit(matrix))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_assistive_technology_meets_no_barrier(visit, matrix, scheme):
    """No barrier for people who use assistive technology, contrast included."""
    check_obstacles(visit(matrix, color_scheme=scheme))


def test_paper_is_white(visit, matrix):
    check_paper(visit(matrix, color_scheme="dark"))


def test_an_address_of_a_cell(visit, matrix):
    """It opens the evidence of the cell, and disappears when that is closed."""
    page = visit(matrix, "#CLOSE-2%3Aresets")
    page.get_by_role("dialog", name="CLOSE-2, resets: ✗ fail").wait_for()
    escape(page)
    assert page.url == f"file://{matrix}"


def test_without_scripts(visit, matrix):
    """All evidence is visible, and cells link to it."""
    page = visit(matrix, java_script_enabled=False)
    assert not page.locator(".filters").is_visible()
    cell(page, FAILING).click()
    assert page.url.endswith("#CLOSE-2%3Aresets")
    assert page.locator("section.evidence:visible").count() == len(JUDGED) * len(SERVERS)


def test_a_narrow_window(visit, matrix):
    """On a phone the evidence, except its picture, fits the width."""
    page = visit(matrix)
    page.set_viewport_size({"width": 400, "height": 700})
    cell(page, FAILING).click()
    dialog = page.locator("dialog")
    assert dialog.evaluate("each => each.scrollWidth <= each.clientWidth")


def test_one_server(visit, results):
    """The page of --report has one column, and shows failures at once."""
    page = visit(results[1].parent / "index.html")
    check_alone(page)
    assert page.locator("h1").inner_text() == "Does not conform"
    visible = page.locator("section.evidence:visible h3 .id").all_inner_texts()
    assert visible == ["ECHO-7", "CLOSE-2"]
    assert page.locator("section.evidence:visible svg").count() > 0
    cell(page, FAILING).click()
    page.get_by_role("dialog", name="CLOSE-2: ✗ fail").wait_for()


# That the checks can fail.

SEEDED = [
    (check_alone, "</main>", '<img alt="" src="http://127.0.0.1:9/x.png"></main>'),
    (check_alone, "filters.reset();", "filters.reset(); console.log('here');"),
    (check_alone, "filters.reset();", "filters.reset(); nothing.at.all();"),
    (check_table, "<b>conforms</b>", "<b>fine</b>"),
    (check_table, 'title="fail, as expected"', 'title="fail"'),
    (check_filters, "row.dataset.level !== level", "row.dataset.level === level"),
    (check_filters, 'row.dataset.fails !== "true"', "false"),
    (check_filters, "body.hidden = ", "const unused = "),
    (check_evidence, "if (!dialog.open) dialog.showModal();", ""),
    (check_evidence, "<svg ", '<svg style="display: none" '),
    (check_evidence, "\nshutdown a\n", "\n"),
    (check_passing_evidence, "passed</span>", "tried</span>"),
    (check_keys, "ArrowUp: (x, y) => [x, y - 1]", "ArrowUp: (x, y) => [x, y]"),
    (check_keys, "each === cell ? 0 : -1", "0"),
    (check_keys, "showModal()", "show()"),
    (check_copying, "navigator.clipboard.writeText(text.textContent)", "0"),
    (check_paper, "@media print", "@media speech"),
    (check_paper, "@media screen and (prefers-color-scheme: dark)", "@media all"),
    (check_obstacles, "--faint: #5d6778", "--faint: #aab0bb"),
    (check_obstacles, '<html lang="en">', "<html>"),
    (check_obstacles, 'aria-label="CLOSE-2, resets: fail"', 'aria-label=""'),
]


@pytest.mark.parametrize("check, found, seeded", SEEDED)
def test_a_seeded_defect_is_found(visit, matrix, tmp_path, check, found, seeded):
    text = matrix.read_text(encoding="utf-8")
    assert found in text
    path = tmp_path / "report.html"
    path.write_text(text.replace(found, seeded), encoding="utf-8")
    page = visit(path)
    page.context.set_default_timeout(2000)
    with pytest.raises((AssertionError, browsing.Error)):
        check(page)


# Files that are not results.


@pytest.mark.parametrize("text", [None, "{", "[]", '{"schema": 1}', '{"schema": 3}'])
def test_a_file_that_is_not_a_result(tmp_path, capsys, text):
    """One line that names the file, and status 2."""
    path = tmp_path / "x.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SystemExit) as ended:
        command.main(["report", str(path), "-o", str(tmp_path / "page.html")])
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert f"{path}" in printed and printed.count("\n") == 1
    assert not os.path.exists(tmp_path / "page.html")


def test_two_results_with_the_same_name(tmp_path, capsys, results):
    with pytest.raises(SystemExit) as ended:
        command.main(["report", str(results[0]), str(results[0]), "-o", str(tmp_path / "x")])
    assert ended.value.code == 2
    assert str(results[0]) in capsys.readouterr().err
