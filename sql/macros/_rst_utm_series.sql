-- name: _rst_utm_series
-- kind: scalar macro
-- grain: one value
-- reads: nothing
-- Terms of Kruger's series for WGS 84. The smallest is first, so the sum keeps its precision.
CREATE OR REPLACE MACRO _rst_utm_series() AS [
    {'turns': 12, 'factor': 1.491117731258390e-17},
    {'turns': 10, 'factor': 5.711757677865804e-15},
    {'turns': 8, 'factor': 2.429170607201359e-12},
    {'turns': 6, 'factor': 1.197645503329453e-9},
    {'turns': 4, 'factor': 7.608527773572307e-7},
    {'turns': 2, 'factor': 8.377318206244698e-4}
];
