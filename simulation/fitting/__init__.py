"""Worlds fitted to data, and how far their people are from real ones."""
