from suite.domain import Domain

DOMAIN = Domain(label="tally", title="Tally", description="Counts effects, for tests.")
