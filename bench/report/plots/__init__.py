"""Pictures: each kind has a file that says what is to be seen, as plain data, and one that draws it."""
