-- name: positions
-- kind: query
-- grain: one row per row of the index
-- reads: headers, assets, items
-- The order of an index: collection, location, time. Rows that a read needs together are stored together.
WITH
grid AS (
    SELECT
        10 AS bits,                  -- per axis: 1024 by 1024 cells
        360.0 / (1 << 10) AS cell_width,    -- degrees
        180.0 / (1 << 10) AS cell_height,   -- degrees
        (1 << 10) - 1 AS last_cell
),
centres AS (
    SELECT
        h.asset_no,
        g.bits,
        g.last_cell::BIGINT AS last_cell,
        greatest(0, least(g.last_cell, floor(((h.bbox.xmin + h.bbox.xmax) / 2 + 180.0) / g.cell_width)))::BIGINT AS cell_col,
        greatest(0, least(g.last_cell, floor(((h.bbox.ymin + h.bbox.ymax) / 2 + 90.0) / g.cell_height)))::BIGINT AS cell_row
    FROM headers AS h, grid AS g
),
places AS (
    SELECT
        asset_no,
        -- Position on a Hilbert curve. With other curves, row groups overlap more, and reads touch more of them.
        list_reduce(
            list_concat(
                [{'col': cell_col, 'row': cell_row, 'side': 0::BIGINT, 'place': 0::BIGINT}],
                list_transform(
                    range(bits - 1, -1, -1), lambda rst_bit: {'col': 0::BIGINT, 'row': 0::BIGINT, 'side': 1::BIGINT << rst_bit, 'place': 0::BIGINT}
                )
            ),
            lambda cell, step: {
                'col': CASE
                    WHEN cell.row & step.side > 0 THEN cell.col
                    WHEN cell.col & step.side > 0 THEN last_cell - cell.row
                    ELSE cell.row
                END,
                'row': CASE
                    WHEN cell.row & step.side > 0 THEN cell.row
                    WHEN cell.col & step.side > 0 THEN last_cell - cell.col
                    ELSE cell.col
                END,
                'side': step.side,
                'place': cell.place + step.side * step.side * CASE
                    WHEN cell.col & step.side > 0 THEN CASE WHEN cell.row & step.side > 0 THEN 2 ELSE 3 END
                    WHEN cell.row & step.side > 0 THEN 1
                    ELSE 0
                END
            }
        ).place AS place         -- number of the cell that contains the centre of bbox
    FROM centres
)
SELECT
    h.asset_no,
    row_number() OVER (
        ORDER BY i.collection, h.place, coalesce(i.datetime, i.start_datetime), i.item_id, a.asset, h.asset_no
    ) - 1 AS position            -- 0-based
FROM places AS h
JOIN assets AS a USING (asset_no)
JOIN items AS i USING (item_no)
