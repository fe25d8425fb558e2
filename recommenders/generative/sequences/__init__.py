"""Generators of the next item of a sequence: transformers and recurrent networks."""
