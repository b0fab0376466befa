-- name: _rst_tile_boxes
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- The tiles of a window of a raster: their numbers, and their bounds in its CRS.
CREATE OR REPLACE MACRO _rst_tile_boxes(transform, grid) AS
    list_transform(
        [{'transform': transform, 'grid': grid}],
        lambda raster: flatten(list_transform(range(raster.grid.first_row, raster.grid.last_row + 1), lambda tile_row:
            list_transform(range(raster.grid.first_col, raster.grid.last_col + 1), lambda tile_col: {
                'cell': tile_row * ((raster.grid.width::BIGINT + raster.grid.tile_width - 1) // raster.grid.tile_width) + tile_col,
                'x': raster.transform[3] + raster.transform[1] * tile_col * raster.grid.tile_width,
                'y': raster.transform[6] + raster.transform[5] * tile_row * raster.grid.tile_height,
                'x_end': raster.transform[3] + raster.transform[1] * least((tile_col + 1) * raster.grid.tile_width, raster.grid.width),
                'y_end': raster.transform[6] + raster.transform[5] * least((tile_row + 1) * raster.grid.tile_height, raster.grid.height)
            })
        ))
    )[1];
