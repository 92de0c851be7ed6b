"""``python -m tinytorch.cli``."""

import sys

from . import main

sys.exit(main())
