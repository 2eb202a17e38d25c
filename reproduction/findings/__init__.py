"""What was found: claims, sweeps, tables, figures, and one question at a time."""
