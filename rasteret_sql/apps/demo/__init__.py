"""`rasteret-sql demo`: a collection of GeoTIFFs that does not exist, and the whole path over it."""
