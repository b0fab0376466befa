-- name: _rstpy_tiles_touched
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Substitute without Python: the numbers of all tiles of a window. _rst_asset_tiles then selects the tiles that a part's bounds touch.
CREATE OR REPLACE MACRO _rstpy_tiles_touched(geometry_text, code, raster_code, transform, grid) AS
    list_transform([grid], lambda tiles: flatten(list_transform(range(tiles.first_row, tiles.last_row + 1), lambda tile_row:
        list_transform(
            range(tiles.first_col, tiles.last_col + 1),
            lambda tile_col: tile_row * ((tiles.width::BIGINT + tiles.tile_width - 1) // tiles.tile_width) + tile_col
        )
    )))[1];
