"""Validate searches against the mappings in memory, and count what callers get wrong. The cluster is never asked."""

import asyncio
import enum
import json
import logging
from collections import Counter, OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from cacheapp.cache.kept import KeptByBytes
from cacheapp.cache.mapping_cache import MappingCache
from cacheapp.errors import BadSearch, NotWarm, SearchHasErrors, no_such_name
from cacheapp.mapping.tree import parse
from cacheapp.queries.findings import MAX_FINDINGS, Code, Finding, Severity, Verdict
from cacheapp.queries.known_fields import KnownFields, MappingFields
from cacheapp.queries.validation import Prepared, validate
from cacheapp.reports import ValidationReport
from cacheapp.state.answer import Rendered
from cacheapp.state.distinct import Distinct
from cacheapp.state.expressions import Asked, Expression, names_of
from cacheapp.state.family_names import FamilyNames
from cacheapp.state.visible import Visible
from cacheapp.values.known import KnownValues
from cacheapp.values.near import value_findings
from cacheapp.values.use_counts import UseCounts
from esassistant.clock import Clock, monotonic
from esassistant.elasticsearch.search_head import LARGEST_DECODED_BYTES, read_head
from esassistant.errors import EsassistantError
from esassistant.http.answer import Answer
from esassistant.resource import Handle
from esassistant.single_flight import SingleFlight, Spawn

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 262_144
"""The largest search that is validated."""
MAX_KEPT_FIELDS = 200_000
"""How many prepared fields are kept, over all mappings."""
FIELD_BYTES = 1_000
"""The memory that a prepared field takes."""
MAX_KEPT_PREPARED = 2_000
"""For how many sets of mappings prepared fields are kept, also if these have hardly any: lists and patterns stand for
any number of sets.
"""
SMALL_BODY_BYTES = 2_048
MAX_KEPT_VERDICTS = 256
"""How many verdicts on small searches are kept: some 4 MB at most."""
SMALL_FIELDS = 1_000
"""With at most this many fields, a small search is validated faster than a thread could be started."""
MAX_FAMILIES = 50
OTHER_FAMILIES = "other"
"""The name under which wrong searches of all further families are counted, so that the number of labels stays
bounded.
"""
MAX_COUNTED_FAMILIES = 5
"""A wrong search of more families than this, by a list or pattern, is counted only under `OTHER_FAMILIES`."""
MAX_COUNTED_NAMES = 100
MAX_HEADER_CHARACTERS = 2_000

Key = tuple[tuple[str, int], ...]
"""The distinct mappings of a name, by hash, each with the number of indices that have it."""


class Validate(enum.Enum):
    """What happens to a search in which something is wrong.

    1. `off`: it is sent without validation.
    2. `warn`: it is sent, and the findings come with the answer.
    3. `refuse`: as `warn`, but a search with an error isn't sent. Warnings refuse nothing.
    """

    OFF = "off"
    WARN = "warn"
    REFUSE = "refuse"


class Validated(msgspec.Struct, frozen=True):
    """What a validation answers.

    Args:
        valid: Whether there is no error among the findings; warnings don't count.
        findings: What is wrong, at most 50 findings.
        not_checked: JSON Pointers to parts that aren't checked, such as scripts.
        age_seconds: How long ago the cluster confirmed the mappings.
    """

    valid: bool
    findings: tuple[Finding, ...]
    not_checked: tuple[str, ...]
    age_seconds: float


class Validations:
    """Validates searches, and keeps what it prepares of mappings for that. One per process, owned by the registry; used
    only on its event loop.
    """

    def __init__(
        self,
        cache: MappingCache,
        spawn: Spawn,
        *,
        values: KnownValues | None = None,
        uses: UseCounts | None = None,
        clock: Clock = monotonic,
        max_kept_fields: int = MAX_KEPT_FIELDS,
    ) -> None:
        """Make it. `values`: knows what values fields have; `uses`: counts which fields searches use."""
        self._cache = cache
        self._values = values
        self._uses = uses
        self._clock = clock
        self._kept: KeptByBytes[Key, Prepared] = KeptByBytes(
            FIELD_BYTES * max_kept_fields, max_values=MAX_KEPT_PREPARED, clock=clock
        )
        self._flights: SingleFlight[Key, Prepared] = SingleFlight(spawn, clock=clock)
        self._verdicts: OrderedDict[tuple[Key, bytes], Verdict] = OrderedDict()
        self._validated_total = 0
        self._wrong_total = 0
        self._codes: Counter[str] = Counter()
        self._families: Counter[str] = Counter()
        self._family_names = FamilyNames()

    async def validate(self, wanted: Asked, raw: bytes, visible: Visible) -> Validated:
        """Validate a search of an index, alias or data stream, or of all that an expression stands for. `visible`: the
        names that exist for the caller.

        Raises:
            IllegalName, MappingNotFound: No such name is known, or nothing matches.
            TooMuch: It stands for more mappings than are validated against.
            NotWarm: Its mappings aren't in memory.
            ClusterUnavailable: It isn't known, and the names in memory are too old to say that it doesn't exist.
            BadSearch: The body is no JSON, or too large.
        """
        if len(raw) > MAX_BODY_BYTES:
            raise BadSearch(f"Send at most {MAX_BODY_BYTES} bytes.")
        rendered = await self._cache.render(wanted, outline=True) if isinstance(wanted, Expression) else None
        if rendered is None:
            await self._check_known(wanted, visible)
            rendered = await self._cache.render(wanted, outline=True)
        if rendered is None:
            raise NotWarm(
                f"Not all mappings of {str(wanted)!r} are in memory now; GET them once.", retry_after_seconds=1
            )
        verdict = await self._verdict(rendered, raw)
        names = names_of(wanted, rendered.resolved)
        if self._uses is not None and verdict.used:
            self._uses.note(names[0] if names else "", verdict.used)
        verdict = self._with_values(names, verdict, visible)
        self._count(names, verdict)
        age_seconds = round(max(0.0, self._clock() - rendered.confirmed_at), 3)
        return Validated(verdict.valid, verdict.findings, verdict.not_checked, age_seconds)

    async def _check_known(self, wanted: Asked, visible: Visible) -> None:
        if isinstance(wanted, Expression):
            unknown = (await self._cache.resolve(wanted)).missing
        else:
            self._cache.check_name(wanted)
            unknown = () if self._cache.is_known(wanted) else (wanted,)
        if unknown and not self._cache.warm:
            raise NotWarm("The first pass over the cluster has not ended.", retry_after_seconds=1)
        if unknown:
            raise self._cache.absent(no_such_name(unknown[0]), visible)

    async def findings(self, wanted: Asked, raw: bytes, how: Validate, visible: Visible) -> tuple[Finding, ...]:
        """Validate a search that is about to be sent, and return what is wrong. Empty if it can't be validated now: the
        search is sent anyway.

        Raises:
            SearchHasErrors: It has an error, and the caller wants such searches refused.
        """
        if how is Validate.OFF:
            return ()
        try:
            findings = (await self.validate(wanted, raw, visible)).findings
        except EsassistantError:
            return ()
        except Exception:
            logger.exception("a search could not be validated")
            return ()
        if how is Validate.REFUSE and (error := refusal(findings)) is not None:
            raise error
        return findings

    def report(self) -> ValidationReport:
        return ValidationReport(
            validated_total=self._validated_total,
            wrong_total=self._wrong_total,
            codes={code.value: self._codes[code.value] for code in Code},
            families=dict(self._families.most_common()),
            kept_fields=sum(prepared.known.fields_total for _, prepared in self._kept.items()),
        )

    async def _verdict(self, rendered: Rendered, raw: bytes) -> Verdict:
        """Return what is wrong with a search of these mappings.

        Searches are repeated, most of all by dashboards. So the verdicts on the last small ones are kept: the same
        mappings and body give the same verdict.
        """
        key = tuple((one.mapping_hash, len(one.indices)) for one in rendered.distinct)
        if (kept := self._verdicts.get((key, raw))) is not None:
            self._verdicts.move_to_end((key, raw))
            return kept
        prepared = await self._prepared(key, rendered.distinct)
        is_small = len(raw) <= SMALL_BODY_BYTES
        if is_small and prepared.known.fields_total <= SMALL_FIELDS:
            verdict = _parsed_and_validated(prepared, raw)
        else:
            verdict = await asyncio.to_thread(_parsed_and_validated, prepared, raw)
        if is_small:
            self._verdicts[key, raw] = verdict
            if len(self._verdicts) > MAX_KEPT_VERDICTS:
                self._verdicts.popitem(last=False)
        return verdict

    def _with_values(self, names: Sequence[str], verdict: Verdict, visible: Visible) -> Verdict:
        """Return the verdict with warnings for values that no document has. It is not kept, because known values
        change.
        """
        if self._values is None or not verdict.asked_values:
            return verdict
        known = self._values.of(names, self._cache.snapshot, visible)
        more = value_findings(verdict.asked_values, known) if known is not None else []
        if not more:
            return verdict
        return msgspec.structs.replace(verdict, findings=(*verdict.findings, *more)[:MAX_FINDINGS])

    async def _prepared(self, key: Key, distinct: Sequence[Distinct]) -> Prepared:
        """Return the fields of distinct mappings, ready for validation: kept, or prepared once for all who wait."""
        prepared = self._kept.find(key)
        if prepared is None:
            known = self._known(key)
            prepared = await self._flights.do(key, lambda: asyncio.to_thread(_prepare, distinct, known))
            self._kept.keep(key, prepared, FIELD_BYTES * prepared.known.fields_total)
        return prepared

    def _known(self, key: Key) -> Mapping[str, MappingFields]:
        """Return, by hash, which of these mappings are prepared already, for another name or an earlier state."""
        wanted = {hashed for hashed, _ in key}
        return {
            hashed: fields
            for kept, prepared in self._kept.items()
            for (hashed, _), (fields, _) in zip(kept, prepared.known.groups, strict=True)
            if hashed in wanted
        }

    def _count(self, names: Sequence[str], verdict: Verdict) -> None:
        self._validated_total += 1
        if not verdict.findings:
            return
        self._wrong_total += 1
        self._codes.update(dict.fromkeys((finding.code.value for finding in verdict.findings), 1))
        snapshot = self._cache.snapshot
        found = (self._family_names.find(name, snapshot) for name in names[:MAX_COUNTED_NAMES])
        families = {family.name for family in found if family is not None}
        if len(families) > MAX_COUNTED_FAMILIES:
            families = {OTHER_FAMILIES}
        for family in sorted(families):
            is_counted = family in self._families or len(self._families) < MAX_FAMILIES
            self._families[family if is_counted else OTHER_FAMILIES] += 1


VALIDATION: Handle[Validations] = Handle("validation")


def findings_header(findings: tuple[Finding, ...]) -> str:
    """Return findings as JSON in ASCII, as many as fit into a header: `{"total": 3, "findings": [...]}`."""
    given: list[dict[str, Any]] = []
    text = ""
    for finding in findings:
        brief: dict[str, Any] = {
            "path": finding.path,
            "code": finding.code.value,
            "severity": finding.severity.value,
            "field": finding.field,
            "did_you_mean": list(finding.did_you_mean),
        }
        longer = json.dumps({"total": len(findings), "findings": [*given, brief]}, separators=(",", ":"))
        if len(longer) > MAX_HEADER_CHARACTERS:
            break
        given.append(brief)
        text = longer
    return text or json.dumps({"total": len(findings), "findings": []}, separators=(",", ":"))


def with_findings(body: bytes, findings: tuple[Finding, ...]) -> bytes:
    """Return Elasticsearch's answer with the findings in a member `_esassistant` if the search had no hits; otherwise
    unchanged. The rest stays byte for byte.
    """
    if not findings or not body.endswith(b"}"):
        return body
    head = read_head(body)
    if (head is not None and head.hits) or len(body) > LARGEST_DECODED_BYTES:
        return body  # it has hits, or buckets
    try:
        hits = msgspec.json.decode(body, type=_Answer).hits
    except (ValueError, RecursionError):  # msgspec's own error is a ValueError
        return body
    found = hits.hits if hits.total is None else hits.total.value
    if found:
        return body
    return b'%b,"_esassistant":%b}' % (body[:-1], msgspec.json.encode({"findings": findings}))


class _Total(msgspec.Struct):
    value: int


class _Hits(msgspec.Struct):
    total: _Total | None = None
    hits: list[msgspec.Raw] = []


class _Answer(msgspec.Struct):
    hits: _Hits


def told(answer: Answer, findings: tuple[Finding, ...]) -> Answer:
    """Return Elasticsearch's answer with the findings in a header, and in the body too if the search had no hits."""
    if not findings:
        return answer
    header = ("X-Search-Findings", findings_header(findings))
    return replace(answer, body=with_findings(answer.body, findings), headers=(*answer.headers, header))


def refusal(findings: tuple[Finding, ...]) -> SearchHasErrors | None:
    """Return the error for a search that is refused, which is about its first error; None if it has only warnings."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if not errors:
        return None
    first = errors[0]
    meant = f" Did you mean {first.did_you_mean[0]!r}?" if first.did_you_mean else ""
    more = f" ({len(errors)} errors; this is the first.)" if len(errors) > 1 else ""
    return SearchHasErrors(f"{first.path or '/'}: {first.detail}{meant}{more}", findings)


def _prepare(distinct: Sequence[Distinct], known: Mapping[str, MappingFields]) -> Prepared:
    groups = [(known.get(one.mapping_hash) or MappingFields(parse(one.body)), len(one.indices)) for one in distinct]
    prepared = Prepared(KnownFields(groups))
    prepared.names()
    return prepared


def _parsed_and_validated(prepared: Prepared, raw: bytes) -> Verdict:
    """Validate a body. Raise `BadSearch` if it is no JSON."""
    try:
        body = msgspec.json.decode(raw or b"{}")
    except (ValueError, RecursionError) as error:  # msgspec's own error is a ValueError
        raise BadSearch(f"The search is no JSON: {error}.") from None
    return validate(prepared, body)
