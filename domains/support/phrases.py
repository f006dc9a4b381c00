"""What the customer page says, in the customer's language; keys are the same in each."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import HttpRequest
from django.utils.translation.trans_real import parse_accept_lang_header

PHRASES: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "Write to us",
        "welcome": "How can we help?",
        "invite": "Write your question. Somebody answers here, and this page shows it at once.",
        "name": "Your name (optional)",
        "message": "Your message",
        "send": "Send",
        "you": "You",
        "agent": "Support",
        "waiting": "Your message has arrived. Somebody will answer here.",
        "solved": "This conversation is marked as solved. Write to open it again.",
        "private": "Write no passwords or card numbers. Who has this page's address can read the conversation.",
        "cut": "Not connected. New messages appear when the connection is back:",
        "gone": "This conversation cannot be opened",
        "gone_why": "The link is more than thirty days old, or a part of it is missing.",
        "start": "Start a new conversation",
        "resume": "Back to your last conversation",
        "new": "New message ↓",
        "empty": "Write something first.",
        "too_long": "That is too long: at most {} characters.",
        "too_fast": "That is a lot at once. Wait a moment, then send again: your text is still here.",
        "too_many": "Many conversations were begun from your network. You can begin one again in {} min.",
        "not_sent": "Not sent. Your text is still here: try again in a moment.",
        "other": "中文",
    },
    "zh": {
        "title": "联系客服",
        "welcome": "有什么可以帮您？",
        "invite": "请写下您的问题。客服会在这里回复，回复会立即显示。",
        "name": "您的称呼（可不填）",
        "message": "您的消息",
        "send": "发送",
        "you": "您",
        "agent": "客服",
        "waiting": "消息已收到，客服会在这里回复您。",
        "solved": "本次对话已标记为解决。继续发送消息即可重新打开。",
        "private": "请勿发送密码或银行卡号。知道本页网址的人都能看到对话内容。",
        "cut": "连接已断开，恢复后会显示新消息：",
        "gone": "无法打开这个对话",
        "gone_why": "链接已超过三十天，或者不完整。",
        "start": "开始新的对话",
        "resume": "回到上次的对话",
        "new": "有新消息 ↓",
        "empty": "请先输入内容。",
        "too_long": "内容太长：最多 {} 个字符。",
        "too_fast": "发送得太快了，请稍候再试，您的内容还在。",
        "too_many": "您所在的网络刚刚发起了很多对话。请在 {} 分钟后再试。",
        "not_sent": "发送失败，您的内容还在，请稍后再试。",
        "other": "English",
    },
}


def language_of(request: HttpRequest) -> str:
    """`?lang=`, else the first language of the browser that we have, else English."""
    asked = request.GET.get("lang", "")
    wanted = [
        asked,
        *(language for language, _ in parse_accept_lang_header(request.headers.get("Accept-Language", ""))),
    ]
    return next((short for language in wanted if (short := language.split("-")[0].lower()) in PHRASES), "en")
