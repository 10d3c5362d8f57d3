"""python -m touchstone_conform is the command touchstone-conform."""

import os
import sys

# The current directory, which -m puts first: a file there may have the name of a standard module.
installed = os.path.dirname(os.path.dirname(__file__))
if sys.path[0] == os.getcwd() != installed:
    del sys.path[0]

from touchstone_conform.cli.command import main  # noqa: E402

sys.exit(main())
