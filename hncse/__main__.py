"""``python -m hncse``: the console command `hncse`, see `hncse.cli`."""

import sys

from hncse.cli import main

sys.exit(main())
