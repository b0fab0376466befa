"""Query results as arrays; optional libraries are imported here and nowhere else."""
