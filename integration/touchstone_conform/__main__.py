"""python -m touchstone_conform is the command touchstone-conform."""

import sys

from .command import main

sys.exit(main())
