"""Generators of whole histories: autoencoders, adversaries and diffusion over all items."""
