"""Releases, promotions and training runs in the admin. Rows are made by workers, never by hand."""

from suite.releases.admin.releases import PromotionAdmin as PromotionAdmin
from suite.releases.admin.releases import ReleaseAdmin as ReleaseAdmin
from suite.releases.admin.training import TrainingRunAdmin as TrainingRunAdmin
