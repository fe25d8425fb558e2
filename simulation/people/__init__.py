"""How people choose, tell, change and talk: laws, and people who live by them."""
