"""The desk as agents use it: hands on the keyboard, a customer on the other side, the real server between them."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from domains.support import sample
from tests.browser.shop import Shop
from tests.project import wait_until

Window = Callable[..., Page]
ANSWERS = Path(sample.__file__ or "").parent / "answers.jsonl"
LIVE = re.compile("^live$")
INDEXED = (  # documents that the index has
    "max(Generation.objects.filter(collection='support.answers', state='active')"
    ".values_list('synced_sequence', flat=True), "
    "default=0)"
)
SLOW = 30_000  # ms: the first look at a question, on a machine that does other things too
WARRANTY = (
    "Our teapots carry a warranty of ten years. Send us a photo of the crack and your order number {{order.id}}. "
    "We send a new one, and you keep the old one."
)


@pytest.fixture(scope="module")
def key(shop: Shop) -> str:
    """An API key; agents and answers are there when it is."""
    for name in ("mira", "otto"):
        shop.installation.query(f"bool(User.objects.create_superuser({name!r}, password={name!r}))")
    key = shop.installation.key()
    answers = [json.loads(line) for line in ANSWERS.read_text().splitlines()]
    answers.append({"answer_id": "teapot", "title": "Warranty of teapots", "text": WARRANTY, "language": "en"})
    shop.send(key, [event("answer.changed", answer, f"answer {answer['answer_id']}") for answer in answers])
    wait_until(lambda: shop.installation.query(f"{INDEXED} >= {len(answers)}"), 300, "indexing of the answers")
    return key


def event(kind: str, data: dict[str, Any], name: str = "") -> dict[str, Any]:
    return {"id": name or uuid.uuid4().hex, "source": "tests", "type": f"support.{kind}", "data": data}


def message(conversation: str, text: str, author: str = "customer", name: str = "") -> dict[str, Any]:
    data = {"conversation_id": conversation, "message_id": uuid.uuid4().hex, "text": text, "author": author}
    return event("message.received", data | {"customer": {"name": name} if name else {}})


@pytest.fixture
def agent(window: Window, key: str) -> Callable[..., Page]:
    """`agent(path, name)`: a window of an agent who has logged in, live."""

    def log_in(path: str = "/support/", name: str = "mira", **options: Any) -> Page:
        page = window("/admin/login/?next=/support/answers/", **options)
        page.get_by_label("Username").fill(name)
        page.get_by_label("Password").fill(name)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Answers")).to_be_visible()
        page.goto(path)
        if page.locator("[data-live-status]").count():
            expect(page.locator("[data-live-status]").last).to_have_text(LIVE)
        return page

    return log_in


def talk(shop: Shop, key: str, *texts: str, name: str = "") -> str:
    """A new conversation; returns its id."""
    conversation = f"talk-{uuid.uuid4().hex[:12]}"
    shop.send(key, [message(conversation, text, name=name or conversation) for text in texts])
    return conversation


def path_of(conversation: str) -> str:
    return f"/support/conversations/{conversation}/"


def reply(page: Page) -> Locator:
    return page.get_by_role("textbox", name=re.compile("^Reply to"))


def cards(page: Page) -> Locator:
    return page.locator("#panel [data-suggestion]")


def test_a_customer_writes_and_the_agent_answers_with_two_keys(window: Window, agent: Callable[..., Page]) -> None:
    desk = agent()
    asked: list[str] = []
    desk.on("request", lambda request: asked.append(request.url))
    customer = window("/support/chat/")
    customer.get_by_label("Your name").fill("Ada Lovelace")
    customer.get_by_label("Your message").fill("My teapot has a crack. Is there a warranty on teapots?")
    customer.get_by_role("button", name="Send").click()
    expect(customer.get_by_text("Your message has arrived")).to_be_visible()

    row = desk.locator("[data-entry]").filter(has_text="Ada Lovelace")
    expect(row).to_be_visible()  # by push
    row.get_by_role("link").press("Enter")
    expect(reply(desk)).to_be_focused()
    expect(cards(desk).first).to_contain_text("Warranty of teapots", timeout=SLOW)
    expect(desk.locator("mark").first).to_contain_text("warranty")
    expect(desk.locator("#ghost")).to_contain_text("Our teapots carry a warranty")

    desk.keyboard.press("Tab")
    expect(reply(desk)).to_have_value(re.compile("warranty of ten years"))
    desk.keyboard.press("Enter")
    desk.get_by_role("group", name=re.compile("Fill in")).get_by_label("order.id").fill("7741")  # not known: asked for
    desk.keyboard.press("Enter")
    expect(customer.get_by_text("your order number 7741")).to_be_visible()
    assert "{{" not in customer.locator("#thread").inner_text()

    customer.get_by_label("Your message").fill("Thank <b>you</b>!")
    customer.keyboard.press("Enter")
    expect(customer.get_by_text("Thank <b>you</b>!")).to_be_visible()
    customer.reload()
    expect(customer.locator(".message")).to_have_count(3)
    expect(desk.locator("#thread")).to_contain_text("Thank <b>you</b>!")
    desk.wait_for_timeout(2_000)
    asked.clear()
    desk.wait_for_timeout(3_000)
    assert [url for url in asked if "/here/" not in url] == []  # nothing is polled


def test_after_sending_the_next_who_waits_is_open_and_ready(agent: Callable[..., Page], shop: Shop, key: str) -> None:
    first = talk(shop, key, "Where is my order?", name="Cleo")
    second = talk(shop, key, "Can I cancel my order?", name="Dion")
    page = agent(path_of(first))
    reply(page).fill("It comes tomorrow.")
    page.keyboard.press("Enter")
    expect(page.locator(f'[data-conversation-open="{first}"]')).to_have_count(0)
    expect(reply(page)).to_be_focused()
    expect(reply(page)).to_have_value("")
    expect(page).to_have_url(re.compile("/support/conversations/(?!" + first + ")"))
    page.goto(path_of(second))
    page.get_by_label("then the next one").uncheck()
    reply(page).fill("Yes.")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".message.agent")).to_have_text(re.compile("Yes."))
    expect(reply(page)).to_be_focused()
    assert second in page.url


def test_a_rejection_with_a_reason_changes_what_the_next_customer_brings(
    agent: Callable[..., Page], shop: Shop, key: str
) -> None:
    question = "How do I change the address that my parcel goes to?"
    page = agent(path_of(talk(shop, key, question)))
    expect(cards(page).nth(1)).to_be_visible(timeout=SLOW)
    before = shares(page)
    wrong, right = list(before)[:2]
    page.keyboard.press("F2")
    page.keyboard.press("r")
    expect(page.get_by_role("group", name="Why is it rejected?")).to_be_visible()
    page.keyboard.press("o")
    expect(cards(page).filter(has_text=wrong)).to_have_count(0)
    expect(page.locator("#panel")).to_contain_text("1 rejected")
    expect(cards(page).first).to_have_attribute("data-title", right)
    page.keyboard.press("1")
    page.keyboard.press("Control+Enter")

    after = before
    for _ in range(10):  # the index hears of the decision a moment later
        page.goto(path_of(talk(shop, key, question)))
        expect(page.locator("#panel .foot-note").last).to_contain_text("release", timeout=SLOW)
        after = shares(page)
        if after != before:
            break
    assert after.get(wrong, 0.0) < before[wrong]
    assert next(iter(after)) == right


def shares(page: Page) -> dict[str, float]:
    """{title: confidence} in the order of the panel."""
    rows = cards(page).evaluate_all("rows => rows.map(row => [row.dataset.title, parseFloat(row.dataset.percent)])")
    return dict(rows)


def test_two_agents_see_each_other_and_agree(agent: Callable[..., Page], shop: Shop, key: str) -> None:
    conversation = talk(shop, key, "Is anybody there?")
    mira, otto = agent(path_of(conversation)), agent(path_of(conversation), name="otto")
    expect(mira.locator("#presence")).to_contain_text("1 other here")
    expect(mira.locator("#presence")).to_contain_text("otto")
    expect(otto.locator("#presence")).to_contain_text("mira")
    otto.get_by_role("button", name="Take it").click()
    expect(mira.get_by_role("button", name="Take from otto")).to_be_visible()
    otto.get_by_label("then the next one").uncheck()
    reply(otto).fill("Yes, here I am.")
    otto.keyboard.press("Enter")
    expect(mira.locator(".message.agent")).to_contain_text("Yes, here I am.")
    otto.goto("/support/answers/")
    expect(mira.locator("#presence")).not_to_contain_text("other")


def test_a_new_question_withdraws_what_was_suggested_for_the_old_one(
    agent: Callable[..., Page], shop: Shop, key: str
) -> None:
    conversation = talk(shop, key, "Is there a warranty on teapots?")
    page = agent(path_of(conversation))
    expect(cards(page).first).to_contain_text("Warranty of teapots", timeout=SLOW)
    old = cards(page).evaluate_all("rows => rows.map(row => row.dataset.suggestion)")
    shop.send(key, [message(conversation, "I mean the teapot with the blue lid.")])
    expect(page.locator("#thread")).to_contain_text("blue lid")
    expect(page.locator(f'[data-suggestion="{old[0]}"]')).to_have_count(0)
    expect(cards(page).first).to_contain_text("Warranty of teapots", timeout=SLOW)
    assert not set(old) & set(cards(page).evaluate_all("rows => rows.map(row => row.dataset.suggestion)"))


def test_the_keyboard_is_enough(agent: Callable[..., Page], shop: Shop, key: str) -> None:
    conversation = talk(shop, key, "Is there a warranty on teapots?", name="Keyboard Kim")
    page = agent(path_of(conversation))
    expect(cards(page).first).to_be_visible(timeout=SLOW)
    page.keyboard.type("1jr?/ee")  # letters in the reply, not commands
    expect(reply(page)).to_have_value("1jr?/ee")
    page.keyboard.press("Tab")  # there is no ghost over what was typed: Tab goes on
    expect(reply(page)).not_to_be_focused()
    reply(page).focus()
    page.keyboard.press("Control+Home")
    page.keyboard.type("Hello Kim. ")
    page.keyboard.press("F2")
    page.keyboard.press("1")
    expect(reply(page)).to_have_value(re.compile(r"^Hello Kim\. Our teapots.*the old one\.\n\n1jr\?/ee$", re.DOTALL))
    page.keyboard.press("Escape")  # the insert goes, the rest stays
    expect(reply(page)).to_have_value("Hello Kim. 1jr?/ee")
    page.keyboard.press("Control+z")  # and comes back
    expect(reply(page)).to_have_value(re.compile("Our teapots"))

    page.keyboard.press("F2")
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox", name="Search answers")).to_be_focused()
    page.keyboard.type("cancel an order")
    found = page.locator("#found [data-text]").filter(has_text="Cancel an order")
    expect(found.first).to_be_visible()
    before = str(reply(page).input_value())
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(reply(page)).to_be_focused()
    assert len(reply(page).input_value()) > len(before)  # several answers in one message
    assert "Our teapots" in reply(page).input_value()

    page.keyboard.press("F2")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.reload()
    expect(reply(page)).to_have_value(re.compile("Our teapots"))  # the draft stays with the conversation
    reply(page).fill("")
    page.keyboard.press("Escape")  # the ghost goes
    page.keyboard.press("Escape")  # to the list
    rows = page.locator("#list [data-row-focus]")
    expect(page.locator("#list :focus")).to_have_count(1)
    page.keyboard.press("k")
    page.keyboard.press("k")
    page.keyboard.press("j")
    expect(page.locator("#list :focus")).to_have_count(1)
    assert rows.count() >= 1
    page.keyboard.press("Enter")
    expect(reply(page)).to_be_focused()


def test_an_input_method_that_composes_commands_nothing(agent: Callable[..., Page], shop: Shop, key: str) -> None:
    conversation = talk(shop, key, "Is there a warranty on teapots?")
    page = agent(path_of(conversation))
    expect(page.locator("#ghost")).to_contain_text("Our teapots", timeout=SLOW)
    press = """(key) => {
      const fields = {key, bubbles: true, cancelable: true};
      const target = document.activeElement;
      const composing = new KeyboardEvent('keydown', {...fields, isComposing: true});
      const late = new KeyboardEvent('keydown', {...fields, keyCode: 229});
      return [target.dispatchEvent(composing), target.dispatchEvent(late)];
    }"""
    for name in ("Tab", "Enter", "Escape", "F2"):
        assert page.evaluate(press, name) == [True, True], name
    expect(reply(page)).to_have_value("")
    reply(page).fill("ni hao")
    page.evaluate(press, "Enter")
    page.keyboard.press("F2")
    for name in ("1", "r", "e", "s"):
        assert page.evaluate(press, name) == [True, True], name
    expect(page.get_by_role("group", name="Why is it rejected?")).to_have_count(0)
    expect(reply(page)).to_have_value("ni hao")
    page.wait_for_timeout(300)
    expect(page.locator(".message.agent")).to_have_count(0)


class Cable:
    """The page's way to the server's socket, which can be cut and mended."""

    def __init__(self, page: Page) -> None:
        self.is_cut = False
        self.routes: list[WebSocketRoute] = []
        page.route_web_socket(re.compile("/live/"), self.connect)

    def connect(self, route: WebSocketRoute) -> None:
        if self.is_cut:
            route.close()
            return
        self.routes.append(route)
        route.connect_to_server()

    def cut(self) -> None:
        self.is_cut = True
        for route in self.routes:
            route.close()
        self.routes.clear()


def test_a_cut_socket_is_said_and_what_was_missed_comes(agent: Callable[..., Page], shop: Shop, key: str) -> None:
    conversation = talk(shop, key, "First of all")
    page = agent(expects_errors=True)
    cable = Cable(page)
    page.goto(path_of(conversation))
    banner = page.get_by_text("The connection is cut")
    expect(page.locator("[data-live-status]").last).to_have_text(LIVE)
    expect(banner).to_be_hidden()
    cable.cut()
    expect(banner).to_be_visible()
    expect(page.locator("[data-live-status]").last).to_have_text(re.compile("^as of .+, reconnecting$"))

    shop.send(key, [message(conversation, f"Missed {number:03}") for number in range(500)])  # and the tab sleeps
    missed = talk(shop, key, "Me too", name="Missed Mo")
    time.sleep(1)
    expect(page.locator(".message")).to_have_count(1)
    page.get_by_label("then the next one").uncheck()
    reply(page).fill("Sent while cut")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".message.agent")).to_contain_text("Sent while cut", timeout=SLOW)  # all that was missed, too

    cable.is_cut = False
    expect(banner).to_be_hidden(timeout=SLOW)
    expect(page.locator(".message.customer")).to_have_count(501, timeout=SLOW)
    texts = page.locator(".message.customer .text").all_inner_texts()
    assert sorted(texts[1:]) == [f"Missed {number:03}" for number in range(500)]
    assert len(set(page.locator(".message").evaluate_all("rows => rows.map(row => row.id)"))) == 502
    expect(page.locator(f'[data-entry="{missed}"]')).to_be_visible()


def test_an_answer_is_written_from_the_desk_and_comes_back_to_the_customer(
    agent: Callable[..., Page], shop: Shop, key: str
) -> None:
    conversation = talk(shop, key, "Do your zeppelins land on the moon on Sundays?", name="Luna")
    page = agent(path_of(conversation))
    write = page.get_by_role("link", name="Write an answer and save it")
    expect(write).to_be_visible(timeout=SLOW)
    write.click()
    expect(page.get_by_text("zeppelins land on the moon")).to_be_visible()
    page.get_by_label("Title").fill("Zeppelins to the moon")
    page.get_by_label("Text").fill("No zeppelin flies to the moon, {{customer.name}}.")
    expect(page.locator("#similar")).to_contain_text("customer.name")
    page.get_by_role("button", name="Save").click()
    page.locator("#found").get_by_role("button", name="Insert", exact=True).click()
    expect(reply(page)).to_have_value("No zeppelin flies to the moon, Luna.")
    page.goto("/support/insights/")
    expect(page.get_by_role("heading", name="Questions without an answer")).to_be_visible()


def test_on_a_phone_the_list_gives_way_to_the_conversation(agent: Callable[..., Page], shop: Shop, key: str) -> None:
    conversation = talk(shop, key, "Is there a warranty on teapots?", name="Phone Phil")
    page = agent(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.locator(f'[data-entry="{conversation}"] a').tap()
    expect(cards(page).first).to_be_visible(timeout=SLOW)
    expect(page.locator(".conversations")).to_be_hidden()
    cards(page).first.get_by_role("button", name="Insert", exact=True).tap()
    expect(reply(page)).to_have_value(re.compile("Our teapots"))
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.get_by_role("link", name="Back to the list").tap()
    expect(page.locator(".conversations")).to_be_visible()
