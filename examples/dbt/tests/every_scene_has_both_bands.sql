{{ config(severity='warn') }}
-- NDVI takes two bands: a scene of which one is missing, or could not be read, is not in the mart.
SELECT item_id, list(asset ORDER BY asset) AS assets
FROM {{ ref('s2_index') }}
GROUP BY item_id
HAVING assets <> ['nir', 'red']
