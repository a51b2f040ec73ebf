"""The chapters of a report: one file each, from what was found to texts, tables and pictures."""
