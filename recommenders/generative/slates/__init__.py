"""Generators of slates and pages as a whole."""
