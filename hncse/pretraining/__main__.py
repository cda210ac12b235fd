"""``hncse pretrain``."""

import sys

from hncse.pretraining.run import main

sys.exit(main())
