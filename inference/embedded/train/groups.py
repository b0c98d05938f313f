"""Nouns and verbs of invented tools, and the wordings in which people ask for what they do."""

from .values import listed

NOUNS = listed(
    "order invoice customer ticket parcel shipment booking reservation flight hotel room recipe song playlist "
    "photo album user account profile contact employee team project task issue bug report document file "
    "folder note reminder event meeting calendar appointment message mail letter newsletter post comment "
    "review rating product item stock price discount coupon payment refund transaction balance loan budget "
    "salary tax weather forecast temperature humidity traffic route train bus taxi bike car parking station "
    "ticket_price exchange_rate currency share company supplier contract lease device sensor light thermostat "
    "door alarm camera printer server database backup log job build deployment branch repository package "
    "license certificate domain website page link image video podcast book author library movie cinema actor "
    "concert match player score league patient doctor prescription vaccine lab_result course student grade "
    "exam lesson teacher classroom plant garden animal shelter vehicle engine warranty repair delivery "
    "courier warehouse shelf pallet survey vote poll petition law court claim policy insurance quote lead "
    "campaign banner keyword translation word definition synonym holiday timezone sunrise tide river trail "
    "campsite ferry border visa passport gate seat meal menu table kitchen wine beer coffee pizza basket "
    "wish_list gift voucher subscription channel stream badge locker key fleet"
)

GROUPS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    # verbs in names; wordings; held wordings; descriptions
    "read": (
        ("get", "find", "lookup", "fetch", "show", "read", "check", "query", "describe", "load"),
        (
            (
                "(get|get me|show|show me|find|look up|fetch|check|give me|tell me|I need|pull up|open|read|"
                "load|display|retrieve) (the|) {n}"
            ),
            "(what is|what's|what about|whats) the {n}",
            "(I want to see|I'd like to see|let me see|I am looking for|do we have) (the|a) {n}",
            "{n}",
            "(details|information|info|data) (on|about|for) (the|) {n}",
            "(what is|what's|how is) (the|) {n} {f} (like|now|today|at the moment)",
            "what will (the|) {n} be (like|) {f}",
            "(how many|how much|what) {n} {f} (do we have|is left|do we have left|is there|are there)",
            "(do we have|is there|have you got) (a|any|the|) {n} {f}",
            "is (the|) {n} {f} (available|known|in stock|in the system)",
            "I need to know the {n} {f}",
            "someone (asks|is asking|wants to know) about (the|) {n} {f}",
        ),
        ("bring up the {n}", "(enlighten me on|fill me in on) the {n}", "is there a {n}"),
        (
            "Return the {n}.",
            "Look up a {n}.",
            "Get details of a {n}.",
            "Find the {n} and return it.",
            "Show one {n}.",
            "{N} data.",
        ),
    ),
    "status": (
        ("status", "track", "locate", "progress"),
        (
            "(where is|where's|wheres) (my|the|) {n}",
            (
                "(what is the status of|status of|what's up with|how is|what happened to|track|check on|"
                "locate|any news on|any update on) (my|the|) {n}"
            ),
            "(has|did) (my|the|) {n}",
            "has (my|the|our|) {n} {f} (arrived|shipped|been shipped|been delivered|gone out|left|come) (yet|)",
            "is (my|the|our|) {n} {f} (ready|done|there|finished|on its way) (yet|)",
            "(a customer|my boss|somebody) (asks|is asking|wants to know) about {n} {f}, where is it",
            "(I am|we are|I'm) waiting for (my|the|) {n} {f}, (where is it|any news|what's up)",
            "(when will|when does) (my|the|) {n} {f} (arrive|come|be ready|get here)",
            "do you know where (my|the|) {n} {f} is",
            "can you (check|see|find out) where {n} {f} is",
            "(the|) (status|state|progress) of (my|the|) {n}",
        ),
        ("how far along is (my|the) {n}", "what became of (my|the) {n}"),
        ("Return the status of a {n}.", "Track a {n}.", "Tell where a {n} is.", "Current state of a {n}."),
    ),
    "create": (
        ("create", "add", "make", "new", "register", "open", "book", "schedule", "insert", "submit"),
        (
            (
                "(create|add|make|register|open|set up|book|schedule|file|enter|start|submit|I need|I want|"
                "new|record) (a|a new|an|the|) {n}"
            ),
            "(put in|write|log) a (new|) {n}",
            "there is a new {n}, (add|record) it",
        ),
        ("bring a {n} into being", "have a {n} set up"),
        ("Create a new {n}.", "Add a {n}.", "Register a {n}.", "Make a {n} and return its id."),
    ),
    "delete": (
        ("delete", "remove", "cancel", "drop", "close", "archive"),
        (
            "(delete|remove|cancel|drop|get rid of|erase|close|throw away|discard|kill) (my|the|) {n}",
            "(I no longer need|we don't need) the {n}",
        ),
        ("scrap the {n}", "do away with the {n}"),
        ("Delete a {n}.", "Remove a {n} for good.", "Cancel a {n}."),
    ),
    "update": (
        ("update", "set", "change", "edit", "modify", "adjust"),
        (
            "(update|change|set|edit|modify|adjust|alter|correct|fix) (my|the|) {n}",
            "(make a change to|put a change on) the {n}",
        ),
        ("amend the {n}", "revise the {n}"),
        ("Update a {n}.", "Change a {n}.", "Set values of a {n}."),
    ),
    "list": (
        ("list", "search", "find_all", "browse", "count"),
        (
            "(list|show|show me|search|find|give me|get|browse|which|what) (all|the|all the|our|) {n}s",
            "(search|look) for {n}s",
            "(are there|do we have) (any|) {n}s",
            "{n}s",
        ),
        ("enumerate the {n}s", "what {n}s exist"),
        ("List {n}s.", "Search {n}s.", "Find all matching {n}s.", "Return {n}s that match."),
    ),
    "send": (
        ("send", "post", "publish", "share", "forward"),
        ("(send|post|share|publish|forward|submit|deliver|pass on) (a|the|my|) {n}",),
        ("dispatch a {n}", "get a {n} out"),
        ("Send a {n}.", "Publish a {n}.", "Forward a {n} to someone."),
    ),
}
STATES = (
    "shipped",
    "in transit",
    "delivered",
    "pending",
    "open",
    "closed",
    "on hold",
    "ready",
    "running",
    "cancelled",
    "approved",
    "lost",
    "at the depot",
    "paid",
)
