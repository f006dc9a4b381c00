"""Pages of finance."""

from django.urls import path

from domains.finance.views import alerts, board, lists, rules, stories

urlpatterns = [
    path("", board.board, name="board"),
    path("stream/", board.stream_facts, name="stream"),
    path("parts/<slug:name>/", board.part, name="part"),
    path("alerts/", alerts.history, name="alerts"),
    path("alerts/<int:key>/", alerts.page, name="alert"),
    path("alerts/<int:key>/evidence/", alerts.evidence, name="evidence"),
    path("alerts/<int:key>/acknowledge/", alerts.acknowledge, name="acknowledge"),
    path("alerts/<int:key>/unacknowledge/", alerts.unacknowledge, name="unacknowledge"),
    path("alerts/<int:key>/silence/", alerts.silence, name="silence"),
    path("silences/<int:key>/end/", alerts.end_silence, name="end-silence"),
    path("rules/", rules.table, name="rules"),
    path("rules/new/", rules.editor, name="rule-new"),
    path("rules/proof/", rules.proof, name="proof"),
    path("rules/<int:key>/", rules.editor, name="rule"),
    path("stories/", stories.of_time, name="stories"),
    path("stories/<int:key>/", stories.page, name="story"),
    path("sources/", lists.sources, name="sources"),
    path("entities/", lists.entities, name="entities"),
    path("notifications/", lists.notifications, name="notifications"),
]
