-- name: _rst_datasets_json
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The Python function behind datasets. It returns the catalog as a JSON array.
CREATE OR REPLACE MACRO _rst_datasets_json(folder) AS _rstpy_datasets(folder::VARCHAR);
