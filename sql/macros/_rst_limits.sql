-- name: _rst_limits
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The numbers of the read planner: gap that is read over, and length after which a request is cut.
CREATE OR REPLACE MACRO _rst_limits() AS {
    'max_gap_bytes': 131072::BIGINT,        -- bytes between two tiles that are fetched along with them
    'max_request_bytes': 4194304::BIGINT    -- bytes after which a run of tiles becomes another request
};
