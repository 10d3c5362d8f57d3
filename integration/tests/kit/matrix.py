"""Judges every broken server with the whole kit: which requirements' tests fail on it?

    ci/conform --gallery [NAME...]         those named, against integration/broken/kills; or all,
                                           the one without a defect, and what each MUST has
    ci/conform --gallery --fix [NAME...]   writes their lines anew

The wire and the process profile are judged. With --fix each line is written as soon as it is known;
lines of others stay. A failure that has no line yet is seen again, with more patience. Reckon with
half a minute for a server, and with minutes where much fails.

Exit status: 0 all is as listed, 1 it is not, 2 bad usage or a bad file.
"""

import argparse
import sys
import time

import kills
from judged import LIMIT_S, TooSlow, defects, failing, server_command

from touchstone_conform import spec
from touchstone_conform.judging import KitFailed

CONFORMING = "conforming"  # the server without a defect


def main(words):
    servers = defects()
    known = spec.read().requirements
    options, listed, reasons = parse(words, servers, known)
    wrong = 0
    for name in options.names or [*servers, CONFORMING]:
        began = time.monotonic()
        try:
            expected = listed.get(name, [])
            command = server_command(name if name in servers else None)
            failed, skipped = failing(command, expected, options.jobs, options.limit)
        except (TooSlow, KitFailed) as error:
            said = [f"{name}: {error}"]
        else:
            said = record(name, failed, skipped, listed, options.fix)
            if options.fix and not said:
                kills.write(kills.KILLS, listed, servers, known)
            ids = " ".join(each for each in known if each in failed)
            print(f"{name}  {ids}  ({time.monotonic() - began:.0f} s)", flush=True)
        wrong += len(said)
        for each in said:
            print(f"  {each}", flush=True)
    for each in [] if options.names else kills.complaints(known, listed, reasons):
        wrong += 1
        print(f"  {each}", flush=True)
    return 1 if wrong else 0


def parse(words, servers, known):
    parser = argparse.ArgumentParser(
        prog="ci/conform --gallery",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a broken server")
    parser.add_argument("--fix", action="store_true", help="write what fails to the kills file")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="tests at a time (2)")
    parser.add_argument(
        "--limit", type=int, default=LIMIT_S, metavar="S", help=f"seconds for a server ({LIMIT_S})"
    )
    options = parser.parse_args(words)
    for name in options.names:
        if name not in servers:
            parser.error(f"{name!r} is no broken server: server.py --list-defects")
    try:
        listed, reasons = kills.read(kills.KILLS, known), kills.read_reasons(kills.REASONS, known)
    except kills.KillsError as error:
        parser.error(str(error))
    return options, listed, reasons


def record(name, failed, skipped, listed, fix):
    """What is wrong: with --fix only that something was not judged."""
    if name == CONFORMING:
        return [f"{name}: {each} fails, or was not judged" for each in sorted(failed | skipped)]
    if not fix:
        if name not in listed:
            return [f"{name}: has no line"]
        return kills.differences(name, listed[name], failed, skipped)
    if skipped:
        return [f"{name}: keeps its line, {', '.join(sorted(skipped))} was not judged"]
    # What is known to change from run to run stays marked.
    marked = {each for each in listed.get(name, []) if each.endswith("?")}
    listed[name] = [*marked, *(each for each in failed if f"{each}?" not in marked)]
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
