"""What we keep: one file a run, a header, a line a cell as it ends, a footer; never rewritten."""
