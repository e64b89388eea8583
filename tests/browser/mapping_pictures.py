"""Pictures of the pages of mappings, on a cluster with something to say: `python -m tests.browser.mapping_pictures
FOLDER`. Look at them.
"""

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dev.test_settings")

from elasticsearch import Elasticsearch

from dev.elasticsearch.node import Node
from dev.servers.process import wait_until
from dev.servers.service import Server, manage
from tests.browser.screenshots import SETTINGS, Photographer, make_staff
from tests.support.browser import NARROW, WIDE, open_window

PAGES = {
    "families": "/browse/",
    "names": "/browse/?group=name&sort=changes",
    "nothing": "/browse/?pattern=lgos-web",
    "search": "/browse/?q=how+long+it+took",
    "search-status": "/browse/?q=status",
    "name": "/browse/logs-web-*",
    "field": "/browse/logs-web-*?field=http.status#field",
    "tree": "/browse/wide",
    "changes": "/changes",
    "compare": "/compare?a=logs-web-2026.11.03&b=logs-web-2026.11.07",
    "validate": "/validate?name=orders",
    "describe": "/describe?name=orders&q=which+orders+were+refunded",
    "missing": "/browse/ordres",
}
WRONG = """{
  "query": {
    "bool": {
      "filter": [
        {"term": {"statuss": "open"}},
        {"range": {"placed_at": {"gte": "yesterday"}}}
      ]
    }
  },
  "aggs": {"customers": {"terms": {"field": "customer.name"}}}
}"""
NO_REPLICAS = {"number_of_replicas": 0}


def populate(cluster: Elasticsearch) -> None:
    """A daily series in which two days differ, one of them closed, and a mapping of three thousand fields."""
    web: dict[str, Any] = {
        "@timestamp": {"type": "date", "format": "strict_date_optional_time"},
        "http": {"properties": {"status": {"type": "short"}, "took_ms": {"type": "long", "meta": {"unit": "ms"}}}},
        "url": {"type": "keyword"},
        "client": {"type": "ip"},
        "message": {"type": "text", "fields": {"raw": {"type": "keyword", "ignore_above": 256}}},
        "items": {"type": "nested", "properties": {"sku": {"type": "keyword"}}},
    }
    for day in range(1, 15):
        properties = dict(web)
        if day == 7:
            properties["http"] = {"properties": {"status": {"type": "keyword"}, "took_ms": {"type": "long"}}}
        if day == 9:
            properties |= {"@timestamp": {"type": "date", "format": "epoch_millis"}, "items": {"properties": {}}}
        name = f"logs-web-2026.11.{day:02}"
        cluster.indices.create(index=name, settings=NO_REPLICAS, mappings={"properties": properties})
    cluster.indices.close(index="logs-web-2026.11.02")
    boxes = {f"box_{box}": {"properties": {f"f_{n:03}": {"type": "long"} for n in range(300)}} for box in range(10)}
    settings = {**NO_REPLICAS, "index.mapping.total_fields.limit": 5000}
    cluster.indices.create(index="wide", settings=settings, mappings={"properties": boxes})


def change(cluster: Elasticsearch) -> None:
    """Some changes to be seen."""
    cluster.indices.put_mapping(index="orders", properties={"gift_note": {"type": "text"}})
    for day in (15, 16, 17):
        mapping = cluster.indices.get_mapping(index="logs-web-2026.11.14").body["logs-web-2026.11.14"]["mappings"]
        cluster.indices.create(index=f"logs-web-2026.11.{day}", settings=NO_REPLICAS, mappings=mapping)
    cluster.indices.delete(index="logs-web-2026.11.01")


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pictures-")))
        node = stack.enter_context(Node(data / "node"))
        settings: dict[str, Any] = {**SETTINGS, "DATABASE_URL": f"sqlite:///{data / 'pictures.sqlite3'}"}
        make_staff(node.url, settings)
        assert manage("load_samples", elasticsearch_url=node.url, timeout=300.0, **settings).returncode == 0
        cluster = stack.enter_context(Elasticsearch(node.url))
        populate(cluster)
        server = stack.enter_context(Server(node.url, **settings))
        wait_until(lambda: server.get("/readyz").status_code == 200, 60)
        browser = stack.enter_context(open_window(server.url, data / "profile"))
        browser.log_in(create=False)
        change(cluster)
        time.sleep(10)
        camera = Photographer(folder, browser)
        for width, scheme in ((WIDE, "light"), (NARROW, "dark"), (WIDE, "dark"), (NARROW, "light")):
            for name, path in PAGES.items():
                camera.picture(f"{name}-{width}-{scheme}", path, "", width, scheme, 2400)
            browser.open("/validate?name=orders")
            browser.find("#search-body").send_keys(WRONG)
            browser.click("main button[type=submit]")
            browser.wait_for_text("What was found")
            camera.shoot(f"findings-{width}-{scheme}", width, 2400)
            browser.open("/browse/orders")
            for summary in browser.driver.find_elements("css selector", "#fields-listed .one > summary")[:2]:
                summary.click()
            browser.wait_for_text("Can be searched", "#fields-listed")
            camera.shoot(f"opened-{width}-{scheme}", width, 2400)
    return 0


if __name__ == "__main__":
    sys.exit(main())
