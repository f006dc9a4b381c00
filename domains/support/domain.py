from suite.domain import Domain

DOMAIN = Domain(
    label="support",
    title="Support",
    description="Answers for a customer's question, found while the customer waits, and learned from what agents take.",
    home="support:desk",
)
