"""Makes a candidate that answers otherwise than the active release: `python -m tests.other_release` prints its name.

The same body with its last layer scaled by fixed factors of either sign: vectors of the two have cosines near 0, and
the angles within one differ from those within the other. So an answer that is made of both looks like neither's.
"""

from __future__ import annotations

from dataclasses import replace

import django
import torch


def main() -> None:
    from suite.releases import runtime, selectors
    from suite.releases.building import keep
    from suite.releases.comparison import note

    encoder = runtime.active_encoder()
    factors = torch.empty(encoder.dimensions).uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(7))
    factors[::2] *= -1
    body = encoder.model
    last = body.encoder.layer[-1].output.LayerNorm
    with torch.no_grad():
        last.weight.mul_(factors)
        last.bias.mul_(factors)
    heads = {
        name: replace(head, weight=head.weight / factors.numpy()) if head.weight.shape[1] == len(factors) else head
        for name, head in encoder.heads.items()
    }
    active = selectors.find(encoder.fingerprint)
    other = keep(encoder.with_body(body).with_heads(heads), active.metrics, [])
    note(other, active.evaluation)
    print(other.fingerprint)


if __name__ == "__main__":
    django.setup()
    main()
