"""What customers ask again and again, in words that the answers do not use: (answer id, two that agents decide on, two
that come later). Written for the test of learning."""

REPEATED: list[tuple[str, tuple[str, str], tuple[str, str]]] = [
    (
        "track-order",
        ("any news about my stuff", "any update about my things"),
        ("is there any news of my stuff", "any update on my stuff?"),
    ),
    (
        "marked-delivered",
        ("app says done but hallway is empty", "status done, hallway empty"),
        ("it says done but my hallway is empty", "status says done, nothing in the hallway"),
    ),
    (
        "cancel-order",
        ("i changed my mind", "changed my mind about it"),
        ("sorry, i changed my mind", "i have changed my mind about this"),
    ),
    (
        "change-address",
        ("i live elsewhere now", "we live somewhere else now"),
        ("i live somewhere else now", "living elsewhere now, what to do"),
    ),
    (
        "delivery-cost",
        ("is the postman free", "is the postman for free"),
        ("postman free of charge?", "is your postman free of charge"),
    ),
    (
        "express",
        ("my party is in two days", "the party is in two days"),
        ("party in two days, help", "we have a party in two days"),
    ),
    (
        "missed-delivery",
        ("i was in the shower when he rang", "was in the shower as he rang"),
        ("he rang while i was in the shower", "the bell rang, i was in the shower"),
    ),
    ("return-how", ("my husband hates it", "my wife hates it"), ("my sister hates it", "my family hates it")),
    (
        "return-label",
        ("what do i stick on the box", "what must i stick on the box"),
        ("what should i stick on the box", "what to stick on my box"),
    ),
    (
        "refund-when",
        ("my account is still empty", "account still empty"),
        ("still empty, my account", "why is my account still empty"),
    ),
    (
        "broken-arrived",
        ("there are shards everywhere", "only shards everywhere"),
        ("shards everywhere!", "i see shards everywhere"),
    ),
    (
        "wrong-item",
        ("that is a spoon, not a fork", "it is a spoon and not a fork"),
        ("you put a spoon in, not a fork", "a spoon and not a fork!"),
    ),
    (
        "missing-parts",
        ("the bag with the little things is absent", "no bag with the little things"),
        ("where is the bag with the little things", "bag with little things not there"),
    ),
    (
        "warranty",
        ("it gave up after a winter", "gave up after one winter"),
        ("it gave up after the winter", "the thing gave up after one winter"),
    ),
    (
        "charged-twice",
        ("my statement shows a double", "a double on my statement"),
        ("there is a double on the statement", "statement with a double"),
    ),
    (
        "invoice",
        ("my accountant wants paper", "the accountant wants a paper"),
        ("our accountant wants paper", "accountant wants some paper"),
    ),
    (
        "voucher-invalid",
        ("my letters do nothing", "the letters do nothing"),
        ("i type the letters and they do nothing", "these letters do nothing"),
    ),
    (
        "login",
        ("the door to my profile stays shut", "door to the profile is shut"),
        ("the door of my profile is shut", "my profile's door stays shut"),
    ),
    (
        "newsletter",
        ("my inbox is full of you", "inbox full of you"),
        ("the inbox is full of you again", "my whole inbox is full of you"),
    ),
    (
        "cast-iron",
        ("orange spots on my pan", "orange spots on the pan"),
        ("the pan has orange spots", "spots, orange ones, on my pan"),
    ),
]
