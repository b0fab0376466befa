-- name: _rstpy_tiles_touched
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Substitute without Python: the numbers of all tiles of a window. _rst_asset_tiles then selects the tiles that a part's bounds touch.
CREATE OR REPLACE MACRO _rstpy_tiles_touched(geometry_text, code, raster_code, transform, grid) AS
    list_transform([grid], lambda rst_tiles: flatten(list_transform(range(rst_tiles.first_row, rst_tiles.last_row + 1), lambda rst_tile_row:
        list_transform(
            range(rst_tiles.first_col, rst_tiles.last_col + 1),
            lambda rst_tile_col: rst_tile_row * ((rst_tiles.width::BIGINT + rst_tiles.tile_width - 1) // rst_tiles.tile_width) + rst_tile_col
        )
    )))[1];
