"""Where things lie: CRSs, grids, geometries and what they touch. Pure."""
