"""The loop: worlds of simulated people who choose, change and are learnt from, arm by arm."""
