-- name: _rst_is_usual_session
-- kind: scalar macro
-- grain: one value
-- reads: settings of the session
-- True. Raises an error if a collation of the session makes different names equal.
CREATE OR REPLACE MACRO _rst_is_usual_session() AS
    CASE
        WHEN upper(coalesce(current_setting('default_collation'), '')) IN ('', 'C', 'BINARY') THEN true
        ELSE error('default_collation: got ''' || current_setting('default_collation') || ''', expected none while a read is planned: '
            || 'names that differ would be the same. RESET default_collation, and write COLLATE into your own conditions')
    END;
