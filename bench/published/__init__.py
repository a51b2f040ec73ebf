"""What others say: chips and their published figures, each with a source."""
