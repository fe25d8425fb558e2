"""The report: one HTML file a person can read, and the same result for machines."""
