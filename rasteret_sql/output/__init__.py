"""Pictures, plots and exported files."""
