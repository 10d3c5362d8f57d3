"""Runs the conforming server, or one with seeded defects.

    server.py --port N [--host ADDRESS] [--defect NAME]...
    server.py --list-defects
"""

import argparse
import os
import sys

from conforming import Server
from defects import DEFECTS


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument(
        "--defect",
        action="append",
        choices=DEFECTS,
        metavar="NAME",
        help="a class of defects.py; several if they do not meet",
    )
    parser.add_argument("--list-defects", action="store_true", help="list the names and exit")
    arguments = parser.parse_args()
    if arguments.list_defects:
        print(*DEFECTS, sep="\n")
        return
    kinds = [DEFECTS[each] for each in arguments.defect or ()]
    kind = type("Broken", tuple(kinds), {}) if kinds else Server
    try:
        server = kind(arguments.host, arguments.port)
    except OSError as error:
        sys.exit(f"server.py: cannot listen on port {arguments.port}: {os.strerror(error.errno)}")
    server.run()


if __name__ == "__main__":
    main()
