"""What it means: rates from readings, ratios with intervals, measured against published."""
