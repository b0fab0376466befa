-- name: _rst_checked_width
-- kind: scalar macro
-- grain: one width per image
-- reads: nothing
-- The width of an image that has one byte count for each of its tiles; an error for any other. So no plan is larger than its index row.
CREATE OR REPLACE MACRO _rst_checked_width(width, height, tile_byte_counts, format, named) AS
    CASE
        -- As numbers with a fraction: sizes of a row that is wrong may overflow.
        WHEN len(tile_byte_counts) = ceil(width::DOUBLE / format.tile_width) * ceil(height::DOUBLE / format.tile_height)
            * CASE WHEN format.planar THEN format.samples_per_pixel ELSE 1 END
            THEN width
        ELSE error(concat(
            named, ' is ', coalesce('a list of ' || len(tile_byte_counts) || ' numbers', 'NULL'), ', expected one for each tile of ',
            format.tile_width, ' x ', format.tile_height, ' pixels of an image of ', width, ' x ', height,
            '; correct the row, or build the index again'
        ))
    END;
