-- name: _rst_file_stem
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The name of a file without folders, extension, query string and percent-encoding. It names items without an id.
CREATE OR REPLACE MACRO _rst_file_stem(href) AS
    coalesce(
        nullif(
            regexp_replace(
                regexp_extract(
                    rtrim(
                        CASE
                            WHEN regexp_matches(href, '^[A-Za-z][A-Za-z0-9+.\-]*://')
                                THEN url_decode(regexp_replace(regexp_replace(href, '[?#].*$', ''), '^[^:]+://[^/]*', ''))
                            ELSE href
                        END,
                        '/'
                    ),
                    '[^/]*$'
                ),
                '^(.+)\.[^.]*$', '\1'
            ),
            ''
        ),
        href
    );
