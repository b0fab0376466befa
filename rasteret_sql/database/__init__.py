"""DuckDB as the project uses it: connections of its own, the SQL files, the schema of an index, checks of SQL text."""
