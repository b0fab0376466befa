-- name: _rst_limits
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The limits of the read planner: the largest gap inside a request, and the length after which a request ends.
CREATE OR REPLACE MACRO _rst_limits() AS {
    'max_gap_bytes': 131072::BIGINT,        -- bytes between two tiles that one request may include
    'max_request_bytes': 4194304::BIGINT    -- bytes after which a new request begins
};
