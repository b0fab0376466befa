"""One module per reader. Each is imported only by the processes that it is measured in."""
