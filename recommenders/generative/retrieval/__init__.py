"""Generative retrieval: items as short sequences of codes, spelt along a prefix tree."""
