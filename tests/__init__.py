"""Nothing a test writes outlives a power cut: waiting for the disk would be a third of a small training."""

import os

os.fsync = lambda _: None
