"""The checks that come with tierwise, one family per file; `evals/catalogue.py` lists them."""
