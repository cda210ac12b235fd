"""The book: notebooks, results and a page to type in, as one site. ``python -m book`` builds it (`make book`)."""
