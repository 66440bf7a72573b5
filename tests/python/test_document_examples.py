"""The examples of the documents in `core/docs` do what stands there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import libqueue
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = ("delivery.md", "topics.md")
PROGRAM = """
#include <libqueue.h>
#include <poll.h>
#include <stdio.h>

void example(lq_topic *topic, lq_group *group, lq_consumer *consumer, lq_batch *batch,
             const lq_delivery *delivery);
void example(lq_topic *topic, lq_group *group, lq_consumer *consumer, lq_batch *batch,
             const lq_delivery *delivery)
{
"""


def examples(document: str, language: str) -> list[str]:
    text = (ROOT / "core/docs" / document).read_text()
    found = re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)
    assert len(found) > 4, (document, language)
    return [str(one) for one in found]


def run_all(document: str, folder: Path) -> libqueue.Store:
    names: dict[str, object] = {"libqueue": libqueue, "folder": folder}
    for example in examples(document, "python"):
        exec(compile(example, document, "exec"), names)
    store = names["store"]
    assert isinstance(store, libqueue.Store)
    return store


def test_the_examples_of_delivery_run_one_after_the_other(tmp_path: Path) -> None:
    store = run_all("delivery.md", tmp_path / "store")
    assert {"orders", "orders.mail.dlq"} <= set(store.topics())
    assert store.topic("orders").group("ledger").config["on_dead_letter"] == "hold_key"


def test_the_examples_of_topics_run_one_after_the_other(tmp_path: Path) -> None:
    store = run_all("topics.md", tmp_path / "store")
    assert set(store.topics()) == {"orders", "jobs", "stream", "recent"}
    assert store.topic("jobs").group("workers").stats()["acked"] == 1
    assert store.topic("orders").config["min_free_bytes"] == 16 << 20


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_examples_in_c_are_c(document: str, tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is needed"
    for number, example in enumerate(examples(document, "c")):
        source = tmp_path / f"example{number}.c"
        unused = "".join(
            f"    (void){name};\n" for name in ("topic", "group", "consumer", "batch", "delivery")
        )
        source.write_text(f"{PROGRAM}{unused}{{\n{example}}}\n}}\n")
        flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT}/include"]
        call = [compiler, *flags, str(source)]
        checked = subprocess.run(call, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{example}\n{checked.stderr}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_examples_of_the_command_line_name_what_there_is(document: str) -> None:
    known = set()
    for line in "".join(examples(document, "sh")).splitlines():
        words = line.split("libqueue ", 1)[1].split()
        known.add(" ".join(words[:2] if words[0] == "dlq" else words[:1]))
    tool = Path(sys.executable).with_name("libqueue")
    for command in sorted(known):
        call = [str(tool), *command.split(), "--help"]
        done = subprocess.run(call, capture_output=True, check=False)
        assert done.returncode == 0, command
