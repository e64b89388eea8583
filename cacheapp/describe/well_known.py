"""Names of fields that are the same in many mappings and answer many questions: those of the core level of the Elastic
Common Schema, and other general ones.
"""

_BY_OBJECT = {
    "": "@timestamp timestamp time date created_at updated_at id name title message status state type level user host "
    "amount price total quantity count duration category description",
    "agent": "name type version",
    "client": "ip address domain port bytes",
    "cloud": "provider region account.id instance.id",
    "container": "id name image.name",
    "data_stream": "dataset namespace type",
    "destination": "ip address domain port bytes packets",
    "dns": "question.name response_code",
    "ecs": "version",
    "email": "from.address to.address subject",
    "error": "code id message type stack_trace",
    "event": "action category code created dataset duration end ingested kind module outcome provider risk_score "
    "severity start type original",
    "file": "name path size hash.sha256",
    "group": "id name",
    "host": "name hostname id ip mac architecture type os.name os.version",
    "http": "request.method request.bytes response.status_code response.bytes response.body.bytes",
    "kubernetes": "namespace pod.name node.name container.name",
    "log": "level logger file.path",
    "network": "bytes packets protocol transport direction type",
    "observer": "name hostname ip type vendor",
    "organization": "id name",
    "process": "name pid executable command_line args parent.name",
    "related": "hosts ip user hash",
    "rule": "name id",
    "server": "ip address domain port bytes",
    "service": "name type version id state",
    "source": "ip address domain port bytes packets geo.country_iso_code geo.city_name",
    "span": "id",
    "threat": "technique.name tactic.name",
    "trace": "id",
    "transaction": "id",
    "url": "full original path domain query",
    "user": "name id email full_name domain",
    "user_agent": "name original os.name",
}

WELL_KNOWN = {
    f"{around}.{name}" if around else name: rank
    for rank, (around, name) in enumerate(
        (around, name) for around, names in _BY_OBJECT.items() for name in names.split()
    )
}
"""Each such name, with its place in the list."""

BEST_KNOWN = frozenset(
    """
    @timestamp timestamp message name status type id host.name host.hostname user.name user.id user.email source.ip
    source.address destination.ip client.ip url.path url.full url.original url.domain http.request.method
    http.response.status_code event.action event.category event.code event.duration event.outcome error.message
    error.type error.code log.level service.name process.name process.executable process.command_line file.path
    file.name user_agent.name container.name container.id kubernetes.pod.name network.bytes rule.name trace.id
    """.split()
)
"""Those of them that are asked for most."""

TELLING = frozenset(
    """
    name id status state type message user host hostname ip address path method action outcome code level severity
    duration count total bytes size amount price quantity percent pct version url domain category reason description
    title text body email region country city location time timestamp date start end created value rate error
    """.split()
)
"""Last words of names that say what something is, when, where, how much and whose. Fields with such names are asked for
more often than others.
"""
