from suite.domain import Domain

DOMAIN = Domain(
    label="finance",
    title="Finance",
    description="What the news says of whom, how that moves, and when it is worth an alert.",
    home="finance:board",
)
