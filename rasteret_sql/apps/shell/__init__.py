"""`rasteret-sql shell`: a SQL prompt in which `read_tiles` and its siblings are there."""
