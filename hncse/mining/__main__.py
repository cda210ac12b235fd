"""python -m hncse.mining: see `hncse.mining`."""

import sys

from hncse.mining import main

sys.exit(main())
