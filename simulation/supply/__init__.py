"""What there is to recommend as it grows: creators, machines, adversaries."""
