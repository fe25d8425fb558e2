"""A RecBole model behind LoopAudit's JSON lines; runs in RecBole's environment, without LoopAudit.

    python3.11 -m venv recbole && recbole/bin/pip install -r requirements.txt
    loopaudit audit "cmd:recbole/bin/python child.py EASE reg_weight=250"

General models answer for people they were trained on, sequential ones for any history. Whatever
RecBole prints goes to standard error: standard output carries the protocol and nothing else.
"""
# ruff: noqa: E402 - standard output is taken away before anything that prints is imported

import contextlib
import csv
import json
import os
import sys
import tempfile

protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)  # from here on a print() reaches standard error

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.interaction import Interaction
from recbole.utils import ModelType, get_model, get_trainer, init_seed

WITHOUT_LUCK = {"use_gpu": False, "reproducibility": True, "show_progress": False}
ALL_OF_IT = {"split": {"RS": [1, 0, 0]}, "order": "TO", "group_by": "user", "mode": "full"}


class Child:
    """One model, trained on the log that it is sent.

    Args:
        name: of a RecBole model ("EASE", "MultiVAE", "BPR", "SASRec").
        settings: of RecBole's configuration.
    """

    def __init__(self, name, settings):
        self.name, self.settings = name, settings
        self.kind = get_model(name)
        self.model = None
        torch.set_num_threads(1)

    def fit(self, log, seed):
        """Write the log as RecBole's atomic file, train on all of it, remember both id spaces."""
        with open(log, encoding="utf-8") as file:
            rows = sorted(csv.DictReader(file), key=lambda row: int(row["step"]))
        self.items = sorted({row["item"] for row in rows})
        self.number = {item: i for i, item in enumerate(self.items)}  # ids may hold tabs, say
        init_seed(seed, True)
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            # RecBole leaves a folder of its own wherever it trains: let that be there
            os.mkdir(os.path.join(folder, "log"))
            with open(os.path.join(folder, "log", "log.inter"), "w", encoding="utf-8") as file:
                file.write("user_id:token\titem_id:token\ttimestamp:float\n")
                for at, row in enumerate(rows):  # its times are those of the log's order
                    file.write(f"{row['user']}\t{self.number[row['item']]}\t{at}\n")
            config = Config(self.name, "log", config_dict=self._configuration(folder, seed))
            dataset = create_dataset(config)
            train, _, _ = data_preparation(config, dataset)
            self.model = self.kind(config, train._dataset)
            trainer = get_trainer(config["MODEL_TYPE"], self.name)(config, self.model)
            trainer.fit(train, None, saved=False, show_progress=False)
        self.model.eval()
        self.length = config["MAX_ITEM_LIST_LENGTH"]
        self.users = dataset.field2token_id["user_id"]
        tokens = dataset.field2token_id["item_id"]  # inner number 0 is RecBole's padding
        self.inner = np.array([tokens[str(i)] for i in range(len(self.items))])

    def _configuration(self, folder, seed):
        given = {
            "data_path": folder,
            "checkpoint_dir": folder,
            "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
            "eval_args": ALL_OF_IT,
            "state": "WARNING",
            "seed": seed,
            **WITHOUT_LUCK,
        }
        if self.sequential:  # their default loss ranks all items and takes no negatives
            given["train_neg_sample_args"] = None
        return {**given, **self.settings}

    @property
    def sequential(self):
        return self.kind.type == ModelType.SEQUENTIAL if hasattr(self.kind, "type") else False

    def answer(self, requests):
        """One result a request; those that it cannot serve carry an error."""
        results = [{"error": "this person or history is unknown to the model"} for _ in requests]
        rows, fields = self.inputs(requests)
        if rows:
            with torch.no_grad():
                scores = self.model.full_sort_predict(Interaction(fields))
            scores = scores.reshape(len(rows), -1).double().numpy()[:, self.inner]  # (n, items)
            for row, score in zip(rows, scores, strict=True):
                best = np.argsort(-score, kind="stable")[: requests[row]["k"]]
                results[row] = {
                    "items": [self.items[i] for i in best],
                    "scores": score[best].tolist(),
                }
        return results

    def inputs(self, requests):
        if not self.sequential:
            rows = [r for r, asked in enumerate(requests) if asked["user"] in self.users]
            users = [self.users[requests[r]["user"]] for r in rows]
            return rows, {"user_id": torch.tensor(users)}
        known = [
            [self.inner[self.number[i]] for i in asked["history"] if i in self.number]
            for asked in requests
        ]
        rows = [r for r, had in enumerate(known) if had]
        lists = np.zeros((len(rows), self.length), np.int64)
        for at, r in enumerate(rows):  # oldest first, padded behind
            newest = known[r][-self.length :]
            lists[at, : len(newest)] = newest
        lengths = [min(len(known[r]), self.length) for r in rows]
        return rows, {
            "item_id_list": torch.from_numpy(lists),
            "item_length": torch.tensor(lengths),
        }


def main():
    """Say what it can do, then answer line by line."""
    name, *settings = sys.argv[1:]
    child = Child(name, dict(setting(text) for text in settings))
    history = "any" if child.sequential else "trained_users_only"
    says = {"history": history, "scores": "none", "update": "refit", "max_batch": 512}
    say({"ready": True, "fit": True, "capabilities": says})
    for line in sys.stdin:
        message = json.loads(line)
        if "fit" in message:
            child.fit(message["fit"], message["seed"])
            say({"fitted": True})
        else:
            say({"results": child.answer(message["requests"])})


def setting(text):
    """``embedding_size=32`` as a pair."""
    key, _, value = text.partition("=")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def say(value):
    print(json.dumps(value), file=protocol, flush=True)


if __name__ == "__main__":
    main()
