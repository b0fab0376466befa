"""The SQL surface: what `install` puts into a connection, and how a query's tiles reach it."""
