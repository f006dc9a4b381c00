from suite.domain import Domain

DOMAIN = Domain(
    label="commerce",
    title="Commerce",
    description="What this person wants next, and why: from views, carts, purchases and the text of items.",
    home="commerce:storefront",
)
