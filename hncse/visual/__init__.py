"""Pictures: matplotlib figures for every notebook, and of your own sentences. Only this package imports matplotlib."""

from hncse.visual.own import atlas, plot

__all__ = ["atlas", "plot"]
