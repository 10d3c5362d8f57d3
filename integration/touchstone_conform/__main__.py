"""python -m touchstone_conform is the command touchstone-conform."""

import sys

from touchstone_conform.cli.command import main

sys.exit(main())
