"""`manage.py load_samples`: creates the sample indices, for a first look."""

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

from esassistant.config.home import ROOT
from esassistant.elasticsearch.client import sync_client


@dataclass(frozen=True)
class Sample:
    """One index or data stream to create. `body`: as the create-index API takes it; `documents`: each has its `_id`."""

    name: str
    body: dict[str, Any]
    documents: tuple[dict[str, Any], ...]
    is_data_stream: bool = False


class Command(BaseCommand):
    help = (
        "Create the sample indices and the data stream of dev/samples with their documents. What exists is left alone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.epilog = "Example: ELASTICSEARCH_URL=http://localhost:9200 %(prog)s"

    def handle(self, *_args: Any, **_options: Any) -> None:
        config = settings.ESASSISTANT.elasticsearch
        folder = ROOT / "dev" / "samples"
        samples = list(read_samples(folder))
        if not samples:
            raise CommandError(f"No samples in {folder}: they are in a checkout, not in a wheel.")
        urls = ", ".join(config.urls)
        try:
            with sync_client(config) as client:
                for sample in samples:
                    self.stdout.write(f"{sample.name:<28}{load(client, sample)}")
        except TransportError as error:
            raise CommandError(f"Can't reach Elasticsearch at {urls} ({type(error).__name__}).") from error
        except ApiError as error:
            raise CommandError(f"Elasticsearch at {urls} refused: {error}") from error


def read_samples(folder: Path) -> Iterator[Sample]:
    """Yield the samples of a folder. Each `*.json` describes several indices or data streams of the same kind; the
    documents of each are in `<name>.ndjson`.
    """
    for path in sorted(folder.glob("*.json")):
        definition = json.loads(path.read_text(encoding="utf-8"))
        streams = definition.get("data_streams", {})
        for name, aliases in {**definition.get("indices", {}), **streams}.items():
            lines = (folder / f"{name}.ndjson").read_text(encoding="utf-8").splitlines()
            sources = map(json.loads, lines)
            yield Sample(
                name=name,
                body={"settings": definition["settings"], "mappings": definition["mappings"], "aliases": aliases},
                documents=tuple({"_id": source[definition["id"]], "_source": source} for source in sources),
                is_data_stream=name in streams,
            )


def load(client: Elasticsearch, sample: Sample) -> str:
    """Create an index or data stream, fill it, and return for people what was done. Raises `CommandError` if filling it
    failed.
    """
    if sample.is_data_stream:
        if client.indices.exists(index=sample.name):
            return "exists, left alone"
        # The first document creates the data stream.
        client.indices.put_index_template(
            name=sample.name, index_patterns=[sample.name], data_stream={}, template=sample.body, priority=500
        )
    else:
        try:
            client.indices.create(index=sample.name, **sample.body)
        except BadRequestError as error:
            if error.error != "resource_already_exists_exception":
                raise
            return "exists, left alone"
    try:
        _fill(client, sample)
    except (ApiError, BulkIndexError, TransportError) as error:
        reason = f"{sample.name} was created but not filled ({error.args[0]}): delete it and run this again."
        raise CommandError(reason) from error
    return f"{len(sample.documents)} documents"


def _fill(client: Elasticsearch, sample: Sample) -> None:
    if not sample.is_data_stream:
        bulk(client, sample.documents, index=sample.name, refresh=True)
        return
    half = len(sample.documents) // 2
    documents = [{**document, "_op_type": "create"} for document in sample.documents]  # it takes no other
    bulk(client, documents[:half], index=sample.name, refresh=True)
    client.indices.rollover(alias=sample.name)  # a stream of one index is hard to tell from an index
    bulk(client, documents[half:], index=sample.name, refresh=True)
