"""Images of items: seen beside their texts, and generated."""
