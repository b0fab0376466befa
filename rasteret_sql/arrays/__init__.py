"""Query results as arrays: NumPy, xarray, Dask, GeoPandas. Optional libraries are imported when they are used."""
