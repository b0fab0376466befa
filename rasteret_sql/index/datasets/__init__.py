"""The catalog of datasets: one TOML file each, ours in `entries/`, and those that users keep in a folder."""
