"""Pages of support; a conversation's or an answer's id may hold any character, slashes too."""

from django.urls import path, register_converter
from django.urls.converters import PathConverter

from domains.support.views import answers, chat, desk, insights


class KeyConverter(PathConverter):
    """An id, whatever it holds but NUL, which no database stores."""

    def to_python(self, value: str) -> str:
        if "\0" in value:
            raise ValueError
        return value


register_converter(KeyConverter, "key")
urlpatterns = [
    path("", desk.desk_page, name="desk"),
    path("list/", desk.list_fragment, name="list"),
    path("conversations/<key:key>/", desk.conversation_page, name="conversation"),
    path("news/<key:key>/", desk.news, name="news"),
    path("earlier/<key:key>/", desk.earlier, name="earlier"),
    path("reply/<key:key>/", desk.reply, name="reply"),
    path("assign/<key:key>/", desk.assign, name="assign"),
    path("state/<key:key>/", desk.set_state, name="state"),
    path("here/<key:key>/", desk.here, name="here"),
    path("gone/<key:key>/", desk.gone, name="gone"),
    path("suggestions/<str:uid>/reject/", desk.reject, name="reject"),
    path("find/", desk.find, name="find"),
    path("closest/<key:key>/", desk.closest, name="closest"),
    path("answers/", answers.answers_page, name="answers"),
    path("answers/new/", answers.new_answer, name="new-answer"),
    path("answers/similar/", answers.similar, name="similar"),
    path("answers/remove/<key:key>/", answers.remove_answer, name="remove-answer"),
    path("answers/of/<key:key>/", answers.answer_page, name="answer"),
    path("insights/", insights.insights_page, name="insights"),
    path("chat/", chat.start, name="chat"),
    path("chat/<str:token>/", chat.chat, name="chat-with"),
    path("chat/<str:token>/news/", chat.chat_news, name="chat-news"),
]
