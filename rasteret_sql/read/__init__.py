"""Plan rows to pixels: coalesce byte ranges, fetch them, decode tiles while others arrive, place the pixels."""
