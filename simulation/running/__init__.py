"""Where worlds are lived: arm by arm, in processes, in shards, on many machines."""
