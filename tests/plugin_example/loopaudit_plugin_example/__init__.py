"""An example of a package that plugs into LoopAudit."""
