"""Who knows whom, what they share and believe, and who is there."""
