"""Judging encoders: STS, the probe, transfer tasks, geometry, and the tables made from them."""
