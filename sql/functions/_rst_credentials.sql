-- name: _rst_credentials
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Sets the credentials of one prefix; the settings are a JSON object.
CREATE OR REPLACE MACRO _rst_credentials(prefix, settings) AS _rstpy_credentials(prefix, settings);
