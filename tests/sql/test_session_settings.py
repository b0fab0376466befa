"""No setting of a session changes what a read gives: every setting that DuckDB lists is tried."""

import duckdb
import numpy as np
import pytest

import rasteret_sql as rs
from rasteret_sql.testing import write_cog

#: Other values than the usual ones, of the settings that may change what SQL gives.
OTHER = {
    "Calendar": "japanese",
    "TimeZone": "Asia/Kolkata",
    "binary_as_string": "true",
    "default_null_order": "NULLS FIRST",
    "default_order": "DESC",
    "disable_timestamptz_casts": "true",
    "enable_geoparquet_conversion": "false",
    "ieee_floating_point_ops": "false",
    "integer_division": "true",
    "old_implicit_casting": "true",
    "order_by_non_integer_literal": "true",
    "preserve_insertion_order": "false",
    "scalar_subquery_error_on_multiple_rows": "false",
}
#: Settings that cannot be tried along with others: they name what is not there, end the session, leave it no memory or
#: say errors in another way; without the optimizer nothing is pushed down, which is an error that says so.
NOT_TRIED = {
    "enable_optimizer", "errors_as_json", "debug_force_no_cross_product",
    "access_mode", "active_grammar_extensions", "allowed_configs", "allowed_directories", "allowed_paths",
    "allow_parser_override_extension", "custom_extension_repository", "current_dialect", "default_block_size",
    "default_collation", "disabled_filesystems", "enable_external_access", "enable_logging", "enable_profiling",
    "extension_directories", "extension_directory", "http_proxy", "lock_configuration", "log_query_path",
    "max_execution_time", "max_expression_depth", "max_memory", "memory_limit", "max_temp_directory_size",
    "operator_memory_limit", "password", "user", "username", "profile_output", "profiling_output",
    "python_enable_replacements", "schema", "search_path", "secret_directory", "temp_directory", "threads",
    "worker_threads", "warnings_as_errors", "block_allocator_memory", "dialect_compatibility_mode", "home_directory",
}  # fmt: skip
QUERIES = (
    "FROM tile_plan('{index}')",
    "FROM tile_plan('{index}', bbox := [{bbox}], resolution := 25)",
    "FROM explain_read('{index}', bbox := [{bbox}])",
    "SELECT * EXCLUDE (geometry), datetime = TIMESTAMPTZ '2024-01-02 00:00:00+00' AS is_second FROM items('{index}')",
    "FROM read_tiles('{index}', bbox := [{bbox}], datetime := '2024-01-01/2024-01-03')",
    "SELECT item_id, rst_to_list(pixels, dtype) FROM read_tiles('{index}')",
    "SELECT tile_row, tile_col, rst_stats(pixels, dtype, nodata) FROM read_tiles('{index}')",
    "SELECT item_id, sum(value) AS total, count(*) AS pixels, min(y) AS low FROM read_pixels('{index}', bbox := [{bbox}]) GROUP BY item_id ORDER BY item_id ASC NULLS LAST",
    "SELECT number, item_id, value FROM sample_points('{index}', '{folder}/points.parquet', geometry_crs := '{crs}')",
    (
        "SELECT number, item_id, mean, median FROM zonal_stats('{index}', '{folder}/zones.parquet', "
        "geometry_crs := '{crs}', stats := ['mean', 'median'])"
    ),
)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    folder = tmp_path_factory.mktemp("settings")
    rows = []
    for number, name in enumerate("cab"):
        pixels = np.arange(96 * 80, dtype=np.uint16).reshape(96, 80) + 10_000 * number
        write_cog(folder / f"{name}.tif", pixels, tile=32, overviews=(2,), nodata=number or None)
        rows.append(
            {"href": str(folder / f"{name}.tif"), "item_id": name, "asset": "m", "datetime": f"2024-01-0{number + 1}"}
        )
    import pyarrow as pa

    rs.build_index(pa.Table.from_pylist(rows), folder / "i.parquet")
    return folder / "i.parquet"


@pytest.fixture(scope="module")
def queries(index):
    with duckdb.connect() as con:
        ((bbox,),) = con.execute(
            f"SELECT [min(bbox.xmin), min(bbox.ymin), max(bbox.xmax), (min(bbox.ymin) + max(bbox.ymax)) / 2] FROM '{index}'"
        ).fetchall()
        # A point and a square in the middle of the files.
        place = f"({bbox[0]!r} + {bbox[2]!r}) / 2 AS x, ({bbox[1]!r} * 3 + {bbox[3]!r}) / 4 AS y"
        folder = index.parent
        con.execute(f"COPY (SELECT 7 AS number, {place}) TO '{folder}/points.parquet'")
        con.execute(
            "COPY (SELECT 8 AS number, format('POLYGON (({0} {1}, {2} {1}, {2} {3}, {0} {1}))', x, y, "
            f"x + 0.002, y + 0.002) AS wkt FROM (SELECT {place})) TO '{folder}/zones.parquet'"
        )
    boxes = ", ".join(map(repr, bbox))
    return [text.format(index=index, folder=folder, crs="OGC:CRS84", bbox=boxes) for text in QUERIES]


@pytest.fixture(scope="module")
def usual(queries):
    with rs.connect() as con:
        return answers(con, queries)


def answers(con, queries):
    # Instants, not what a zone makes of them.
    result = []
    for text in queries:
        con.execute(f"CREATE OR REPLACE TEMP TABLE answer AS {text}")
        names = [
            f'epoch_us("{name}")' if "TIME ZONE" in kind else f'"{name}"'
            for name, kind, *_ in con.execute("DESCRIBE answer").fetchall()
        ]
        result.append(con.execute(f"SELECT {', '.join(names)} FROM answer").fetchall())
    return result


@pytest.mark.parametrize("name", sorted(OTHER))
def test_a_setting_that_changes_results_of_sql_changes_no_result_of_ours(queries, usual, name):
    with rs.connect() as con:
        if not con.execute("SELECT count(*) FROM duckdb_settings() WHERE name = $1", [name]).fetchone()[0]:
            pytest.skip(f"this DuckDB has no {name}")
        con.execute(f"SET {name} = '{OTHER[name]}'")
        if name == "binary_as_string" and duckdb.__version__ < "2":
            # DuckDB 1.5 then takes the geometry of an index for text, and says that it is none.
            with pytest.raises(duckdb.Error, match="Invalid string encoding"):
                answers(con, queries)
            return
        found = answers(con, queries)
    if name == "preserve_insertion_order":
        # The setting lets DuckDB give the rows of a SELECT in any order.
        assert [by_text(rows) for rows in found] == [by_text(rows) for rows in usual]
    else:
        assert found == usual


def by_text(rows):
    return sorted(map(repr, rows))


def test_every_setting_with_two_values_is_tried(queries, usual):
    with rs.connect() as con:
        rows = con.execute("SELECT name, value FROM duckdb_settings() WHERE input_type = 'BOOLEAN'").fetchall()
        tried = [
            name for name, value in rows if name not in NOT_TRIED and name not in OTHER and set_other(con, name, value)
        ]
        found = answers(con, queries)
    assert len(tried) > 30
    assert [by_text(rows) for rows in found] == [by_text(rows) for rows in usual]


def test_every_setting_with_a_number_is_tried(queries, usual):
    with rs.connect() as con:
        rows = con.execute(
            "SELECT name FROM duckdb_settings() WHERE input_type IN ('BIGINT', 'UBIGINT', 'DOUBLE')"
        ).fetchall()
        tried = [name for (name,) in rows if name not in NOT_TRIED and any(set_to(con, name, each) for each in (2, 1))]
        found = answers(con, queries)
    assert len(tried) > 10
    assert [by_text(rows) for rows in found] == [by_text(rows) for rows in usual]


def test_a_setting_that_is_new_to_us_is_looked_at():
    """A setting whose values are words is known: it is one of ours, or is no matter of results."""
    with duckdb.connect() as con:
        rows = con.execute(
            "SELECT name FROM duckdb_settings() WHERE input_type LIKE 'VARCHAR%' OR input_type LIKE 'MAP%'"
        ).fetchall()
    unknown = {name for (name,) in rows} - set(OTHER) - NOT_TRIED - NO_MATTER_OF_RESULTS
    assert not unknown


#: Settings of words about memory, files, extensions, logs and what is shown, and about the types of Arrow.
NO_MATTER_OF_RESULTS = {
    "allocator_bulk_deallocation_flush_threshold", "allocator_flush_threshold", "allow_extension_repositories",
    "arrow_output_version", "autoinstall_extension_repository", "catalog_error_max_schemas", "ca_cert_file",
    "checkpoint_on_detach", "checkpoint_threshold", "current_transaction_invalidation_policy", "debug_checkpoint_abort", "deprecated_using_key_syntax",
    "debug_physical_table_scan_execution_strategy", "http_logging_output", "custom_profiling_settings",
    "custom_user_agent", "debug_force_external", "debug_window_mode", "debug_verify_vector",
    "default_null_order", "default_secret_storage", "default_transaction_invalidation_policy",
    "disabled_compression_methods", "disabled_log_types", "disabled_optimizers", "duckdb_api", "enabled_log_types",
    "explain_output", "extension_repository_directory", "external_file_cache_request_sizing", "file_search_path",
    "force_bitpacking_mode", "force_compression", "force_variant_shredding", "fsync_mode", "geometry_minimum_shredding_size",
    "http_proxy_password", "http_proxy_username", "json_geometry_format", "lambda_syntax", "log_query_path",
    "logging_level", "logging_mode", "logging_sink", "logging_storage", "max_streaming_buffer_size", "null_order",
    "pin_threads", "preserve_identifier_case", "profiling_coverage", "profiling_mode", "profiling_renderer_settings",
    "show_behavior", "storage_block_prefetch", "storage_compatibility_version", "streaming_buffer_size",
    "tracked_metrics", "validate_external_file_cache", "wal_autocheckpoint", "write_buffer_row_group_memory_limit",
}  # fmt: skip


def test_a_collation_that_makes_names_equal_is_refused(queries):
    with rs.connect() as con:
        con.execute("SET default_collation = 'NOCASE'")
        for text in queries:
            with pytest.raises(duckdb.Error, match=r"default_collation: got 'NOCASE'.*RESET default_collation"):
                con.execute(text).fetchall()
        con.execute("RESET default_collation")
        assert con.execute(queries[0]).fetchall()


def test_a_session_without_optimizer_is_told_so(index):
    for statement, message in {
        "PRAGMA disable_optimizer": "PRAGMA enable_optimizer",
        "SET disabled_optimizers = 'filter_pushdown'": "RESET disabled_optimizers",
    }.items():
        with rs.connect() as con:
            con.execute(statement)
            with pytest.raises(duckdb.Error, match=message):
                con.execute(f"FROM read_tiles('{index}')").fetchall()


def set_other(con, name, value):
    return set_to(con, name, "false" if str(value).lower() in {"true", "1"} else "true")


def set_to(con, name, value):
    try:
        con.execute(f"SET {name} = {value}")
    except duckdb.Error:
        return False
    return True
