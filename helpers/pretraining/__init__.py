"""Pretraining on images made by formulas: `images` makes them, ``python -m helpers.pretraining`` trains on them."""
