"""The reproduction of arXiv 2408.10536: presets, run folders, claims, sweeps, tables and figures over `hybridlib`."""
