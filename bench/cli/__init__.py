"""What the user types. Each command parses, makes one call into the core and renders; nothing else does either."""
