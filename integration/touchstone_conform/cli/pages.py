"""The subcommand touchstone-conform report: results side by side on one page."""

from __future__ import annotations

import pathlib

from touchstone_conform.cli.arguments import Parser
from touchstone_conform.report import page

_DESCRIPTION = """Writes a page with a row for each requirement and a column for each server.

A result is the report.json that --report wrote. The name of its folder is the server's name on the
page, or the name of the file if that is not report.json. The page needs no other file.
"""
_EXIT_STATUSES = """
Exit status:
  0  the page was written
  2  bad usage
"""


def main(arguments: list[str]) -> int:
    """Run the subcommand; return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        columns = [page.read(each) for each in options.results]
        _check_names(options.results, columns)
        page.write(options.output, columns)
    except (page.PageError, OSError) as error:
        parser.error(str(error))
    print(f"report: {options.output}")
    return 0


def _check_names(paths, columns):
    seen = {}
    for path, column in zip(paths, columns):
        if column.name in seen:
            both = f"{seen[column.name]} and {path}"
            raise page.PageError(f"{both} have the same name, expected different folders")
        seen[column.name] = path


def _parser():
    parser = Parser(
        prog="touchstone-conform report",
        description=_DESCRIPTION,
        epilog=_EXIT_STATUSES,
        usage="touchstone-conform report RESULT.json... [-o PAGE.html]",
    )
    parser.add_argument("results", nargs="+", type=pathlib.Path, metavar="RESULT.json")
    parser.add_argument(
        "-o",
        "--output",
        type=pathlib.Path,
        default=pathlib.Path("report.html"),
        metavar="PAGE",
        help="where to write the page (default: report.html)",
    )
    return parser
