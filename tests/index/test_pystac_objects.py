"""Objects of pystac as sources, as catalogs in files give them."""

import pystac
import pytest

import rasteret_sql as rs
from rasteret_sql.testing import write_collection


@pytest.mark.parametrize(
    "make", [list, pystac.ItemCollection, lambda items: items[0]], ids=["list", "collection", "item"]
)
def test_relative_hrefs_of_an_item_lead_from_its_own_file(make, tmp_path, monkeypatch):
    written = write_collection(tmp_path / "collection", items=2, size=256, tile=128)
    items = list(pystac.Catalog.from_file(str(written.document)).get_items(recursive=True))
    assert items[0].assets["red"].href.startswith("../")
    monkeypatch.chdir("/")
    source = make(items)
    report = rs.build_index(source, tmp_path / "index.parquet")
    assert not report.failures
    assert report.rows == 5 * (1 if source is items[0] else 2)
