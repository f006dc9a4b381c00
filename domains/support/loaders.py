"""What `manage.py load` can read for support, and the live stream of `manage.py play`."""

from __future__ import annotations

from domains.support.plain_files import (
    read_answer_file,
    read_banking77,
    read_question_file,
    read_stackfaq,
    read_training_file,
)
from domains.support.sample.stream import LIVE as LIVE
from domains.support.sample.stream import read_sample
from suite.formats import Loader

LOADERS = {
    "support.answers": Loader(read_answer_file, "answers: .jsonl or .csv, also .gz"),
    "support.questions": Loader(read_question_file, "questions, each a waiting conversation: .jsonl or .csv, also .gz"),
    "support.pairs": Loader(read_training_file("support.pairs"), "for train and evaluate alone: checked, not stored"),
    "support.intents": Loader(
        read_training_file("support.intents"), "for train and evaluate alone: checked, not stored"
    ),
    "stackfaq": Loader(read_stackfaq, "StackFAQ's threads as answers: stackfaq.json"),
    "banking77": Loader(read_banking77, "Banking77's questions as conversations: train.csv or test.csv"),
    "sample": Loader(read_sample, "this project's own sample data: a folder", takes_folder=True),
}
