"""Language models as recommenders: the chat client, the title matcher, the models."""
