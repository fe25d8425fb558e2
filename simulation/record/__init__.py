"""What a run writes and how it is read: log, tables, checkpoints, manifest, journal."""
