"""What is audited: the border every recommender speaks, the built-in models, data and plug-ins."""
