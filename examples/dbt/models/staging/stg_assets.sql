-- The files that are wanted: red and near infrared of scenes with few clouds. A scene that says nothing of clouds stays.
SELECT *
FROM {% if env_var('STAC_API', '') %}{{ source('stac', 'searched') }}{% else %}{{ source('stac', 'listed') }}{% endif %}

WHERE asset IN ('red', 'nir')
  AND coalesce("eo:cloud_cover", 0) < {{ var('max_cloud_cover', 50) }}
