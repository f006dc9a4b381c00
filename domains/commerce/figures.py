"""What the operator's first page says of commerce: how large each catalogue is, and what its lists are made with."""

from __future__ import annotations

from domains.commerce.models import Catalogue, Item
from suite.dashboard import GOOD, WARN, Figure, list_page

MOST = 4  # catalogues that get a figure


def catalogue_figures() -> list[Figure]:
    catalogues = list(Catalogue.objects.all())
    shown = [catalogue_figure(catalogue) for catalogue in catalogues[:MOST]]
    if not catalogues:
        href = list_page(Catalogue)
        return [Figure("Catalogues", 0, "load one: manage.py load --help", href, WARN)]
    if len(catalogues) > MOST:
        shown.append(
            Figure("More catalogues", len(catalogues) - MOST, "all of them are in the list", list_page(Catalogue))
        )
    return shown


def catalogue_figure(catalogue: Catalogue) -> Figure:
    items = Item.objects.filter(catalogue=catalogue, is_removed=False).count()
    return Figure(
        f"{catalogue.title}, items", items, blend_note(catalogue), list_page(Catalogue), GOOD if items else WARN
    )


def blend_note(catalogue: Catalogue) -> str:
    """How the channels of its lists are blended, with the quality on held-out items where it is known."""
    if not catalogue.blend:
        return "blend: the prior, until there is enough to learn from"
    quality = catalogue.blend_metrics.get("ndcg@10")
    return "blend: learned" + (f", NDCG@10 {quality:.3f} on held-out items" if isinstance(quality, float) else "")


FIGURES = {"Commerce": catalogue_figures}
