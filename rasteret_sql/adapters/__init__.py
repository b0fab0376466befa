"""Old names of modules that profiles of users may hold."""
