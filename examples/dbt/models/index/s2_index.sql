{{ config(plugin='rasteret_sql') }}
-- Headers of the files; those that cannot be read are in the metadata of the index, with the reason.
WITH assets AS (FROM {{ ref('stg_assets') }})
FROM read_headers(assets, on_error := 'null')
