"""The embedded encoder: a small BERT this project pretrained itself; its card is ``encoder/README.md``."""
