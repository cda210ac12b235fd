"""Pictures: matplotlib figures for every notebook. Nothing else in the package imports a plotting library."""
