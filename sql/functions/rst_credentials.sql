-- name: rst_credentials
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Sets the credentials of one prefix of addresses for this process, as the function of that name in Python, and gives the prefix. Without settings, the prefix has none any more.
CREATE OR REPLACE MACRO rst_credentials(prefix, settings := MAP {}) AS
    _rst_credentials(prefix::VARCHAR, to_json(settings)::VARCHAR);
