from suite.domain import EventType
from suite.events.envelope import Envelope


def validate(envelope: Envelope) -> dict[str, object]:
    return {"is_poison": bool(envelope.data.get("is_poison"))}


EVENT_TYPES = {"tally.mark.made": EventType(validate, is_handled=True)}
