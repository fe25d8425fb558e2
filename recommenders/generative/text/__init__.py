"""A small language model that recommends by saying titles, and what it can be asked."""
