"""``python -m hncse.pretraining``."""

import sys

from hncse.pretraining.run import main

sys.exit(main())
