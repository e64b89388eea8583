"""Groups of words that people use for one another in the names of fields. Each group is one idea; a word may be in
several.
"""

GROUPS: tuple[str, ...] = (
    "timestamp time ts date datetime when at on day moment observed",
    "created create creation timestamp placed opened open added inserted submitted ordered registered booked started",
    "created ingested timestamp made posted written occurred placed opened",
    "updated update modified modification changed edited revised",
    "shipped ship shipping dispatched dispatch sent delivered delivery",
    "closed close resolved finished completed done ended finalized end",
    "released release published launch launched issued",
    "due deadline expires expiry until",
    "message msg text body log content line",
    "text body content message note comment remark description details everything fulltext all",
    "title name subject headline heading caption summary topic label",
    "name title label called designation hostname",
    "description descr desc details detail blurb body summary about abstract text info",
    "note comment remark memo annotation message",
    "price cost amount fee charge pricing rate prize",
    "amount total sum price value revenue sales turnover paid",
    "quantity qty count number num amount units pieces",
    "stock inventory available quantity",
    "id ident identifier key uid uuid guid ref reference number no num nr code",
    "sku article product item part code",
    "product article item goods",
    "items lines positions entries rows products articles item line position entry",
    "code status number",
    "brand maker manufacturer make vendor producer",
    "vendor maker supplier seller manufacturer merchant",
    "tags keywords labels tag keyword label topics",
    "color colour hue",
    "category type kind class group segment genre section",
    "type kind category event action sort",
    "status state condition phase outcome result",
    "outcome result status success",
    "level severity priority importance",
    "user actor author customer client person account member owner who username login principal subject",
    "customer client buyer user account shopper",
    "author writer by creator from user sender",
    "assignee assigned owner responsible agent",
    "team department group squad unit division",
    "role roles permission group",
    "source src client remote origin caller sender",
    "destination dest dst target server to",
    "target object destination resource",
    "ip addr address clientip",
    "host server node machine hostname computer",
    "location position coords coordinates geo geopoint latlon lonlat point loc place site gps",
    "site location place plant facility",
    "country nation land region",
    "city town place municipality",
    "zip zipcode postcode postal plz",
    "street road",
    "size bytes length volume",
    "bytes size traffic octets",
    "memory mem ram",
    "cpu processor",
    "disk storage drive volume",
    "net network",
    "received rx in incoming inbound",
    "transmitted sent tx out outgoing outbound",
    "read reads input",
    "write writes output",
    "percent pct percentage ratio rate usage utilization",
    "average avg mean",
    "maximum max highest top peak",
    "minimum min lowest",
    "duration took elapsed latency ms millis runtime time responsetime",
    "temperature temp",
    "rpm speed revolutions",
    "vibration shake",
    "url uri link href",
    "path uri url page route endpoint",
    "method verb",
    "request req",
    "response resp reply answer",
    "agent ua browser useragent",
    "operating os system",
    "version release build revision",
    "environment env stage",
    "service app application",
    "application app service program",
    "error exception failure fault err",
    "email mail",
    "phone tel telephone mobile",
    "first given fore",
    "last family sur",
    "language lang locale",
    "rating stars score grade",
    "score points rating risk",
    "popularity likes views reviews hits popular votes upvotes",
    "reviews review likes feedback ratings",
    "vector embedding embeddings vec",
    "weight mass kg",
    "width breadth wide",
    "height tall",
    "reason cause why motive explanation",
    "action event operation activity verb",
    "event action type",
    "session visit",
    "discount rebate reduction",
    "tax vat duty",
    "payment pay billing",
    "effort hours workload",
    "hours hrs h duration",
    "minutes mins minute",
    "years year yr",
    "active enabled on up running",
    "deleted removed discontinued",
    "coupon voucher promo",
    "channel medium",
    "image photo picture photos images pictures",
    "file filename document doc",
    "thread process",
    "process pid task",
    "port socket",
    "gift present",
    "material fabric",
    "motor engine",
    "room chamber",
    "attachment file",
    "watcher follower subscriber",
    "domain host site hostname",
    "company organization organisation org firm business employer",
    "salary wage pay income",
    "age old",
    "gender sex",
    "birthday born birth dob",
    "currency money",
    "order purchase",
    "invoice bill",
    "warehouse depot store",
    "store shop market outlet",
    "via through medium",
    "attempts tries retries attempt",
)


def stem(word: str) -> str:
    """Return a word without its ending, so that `ratings`, `rating` and `rated` become equal."""
    for ending in ("ings", "ing", "ies", "ed", "es", "s", "er"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word[:-1] if len(word) > 3 and word.endswith(("e", "y")) else word


MEANINGS: dict[str, frozenset[int]] = {}
"""Stem of a word → the groups that the word is in."""
for _number, _group in enumerate(GROUPS):
    for _word in _group.split():
        _stem = stem(_word)
        MEANINGS[_stem] = MEANINGS.get(_stem, frozenset()) | {_number}

FILLERS = frozenset({"the", "of", "is", "has", "at", "on", "in", "by", "to", "a", "s"})
"""Words that say little when others stand beside them."""
ENDINGS = frozenset({"keyword", "raw", "text", "exact", "analyzed", "untouched", "sort", "plain", "english"})
"""Names that multi-fields usually have."""


def _stems(words: str) -> frozenset[str]:
    return frozenset(map(stem, words.split()))


TIME_WORDS = _stems(
    "time timestamp ts date datetime at when day created updated modified opened placed started since until expires"
    " deadline"
)
"""Words in a name that hint at a date."""
PLACE_WORDS = _stems("location position coords coordinates geo geopoint latlon gps")
ADDRESS_WORDS = _stems("ip addr clientip ipaddress")
FIRST_WORDS = _stems("timestamp created opened placed location embedding")
"""Words of the field that is most often meant where several fields of a rare type exist."""
