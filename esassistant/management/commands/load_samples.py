"""`manage.py load_samples`: the sample indices, for a first look."""

import json
from argparse import ArgumentParser
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from elasticsearch import ApiError, BadRequestError, Elasticsearch, TransportError
from elasticsearch.helpers import BulkIndexError, bulk

from esassistant.elasticsearch.client import sync_client


@dataclass(frozen=True)
class Sample:
    """One index to create: `body` as the create-index API takes it, `documents` with their `_id`."""

    index: str
    body: dict[str, Any]
    documents: tuple[dict[str, Any], ...]


class Command(BaseCommand):
    help = "Create the sample indices of dev/samples and load their documents. An index that exists is left alone."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = "Example: ELASTICSEARCH_URL=http://localhost:9200 python manage.py load_samples"

    def handle(self, *_args: Any, **_options: Any) -> None:
        config = settings.ESASSISTANT.elasticsearch
        folder = Path(settings.BASE_DIR) / "dev" / "samples"
        samples = list(read_samples(folder))
        if not samples:
            raise CommandError(f"No samples in {folder}.")
        urls = ", ".join(config.urls)
        try:
            with sync_client(config) as client:
                for sample in samples:
                    self.stdout.write(f"{sample.index:<28}{load(client, sample)}")
        except TransportError as error:
            raise CommandError(f"Can't reach Elasticsearch at {urls} ({type(error).__name__}).") from error
        except ApiError as error:
            raise CommandError(f"Elasticsearch at {urls} refused: {error}") from error


def read_samples(folder: Path) -> Iterator[Sample]:
    """Each `*.json` describes alike indices; the documents of an index are in `<index>.ndjson` beside it."""
    for path in sorted(folder.glob("*.json")):
        definition = json.loads(path.read_text(encoding="utf-8"))
        for index, aliases in definition["indices"].items():
            lines = (folder / f"{index}.ndjson").read_text(encoding="utf-8").splitlines()
            sources = map(json.loads, lines)
            yield Sample(
                index=index,
                body={"settings": definition["settings"], "mappings": definition["mappings"], "aliases": aliases},
                documents=tuple({"_id": source[definition["id"]], "_source": source} for source in sources),
            )


def load(client: Elasticsearch, sample: Sample) -> str:
    """Create an index and fill it; returns what was done, for people. Raises `CommandError` when it could not be
    filled.
    """
    try:
        client.indices.create(index=sample.index, **sample.body)
    except BadRequestError as error:
        if error.error != "resource_already_exists_exception":
            raise
        return "exists, left alone"
    try:
        bulk(client, sample.documents, index=sample.index, refresh=True)
    except (ApiError, BulkIndexError, TransportError) as error:
        reason = f"{sample.index} was created but not filled ({error.args[0]}): delete it and run this again."
        raise CommandError(reason) from error
    return f"{len(sample.documents)} documents"
