"""How it looks: views made from results, and one renderer a format."""
