"""The examples of `core/docs/transactions.md` do what stands there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import libqueue
from test_command_line import run

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "core/docs/transactions.md").read_text()
PROGRAM = """
#include <libqueue.h>
#include <stdio.h>

void example(lq_store *store, lq_topic *invoices, lq_consumer *billing,
             lq_transaction *transaction, lq_message message, const lq_delivery *delivery);
void example(lq_store *store, lq_topic *invoices, lq_consumer *billing,
             lq_transaction *transaction, lq_message message, const lq_delivery *delivery)
{
"""
NAMES = ("store", "invoices", "billing", "transaction", "message", "delivery")


def examples(language: str, least: int = 2) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)
    assert len(found) >= least, language
    return [str(one) for one in found]


def test_the_examples_in_python_run_one_after_the_other(tmp_path: Path) -> None:
    names: dict[str, object] = {"libqueue": libqueue, "folder": tmp_path / "store"}
    for example in examples("python"):
        exec(compile(example, "transactions.md", "exec"), names)
    store = names["store"]
    assert isinstance(store, libqueue.Store)
    with store.topic("invoices").reader() as reader:
        assert [one.payload for one in reader.receive(9, timeout=0)] == [b"invoice for paid"]
    with store.topic("mail").reader() as reader:
        assert len(reader.receive(9, timeout=0)) == 1


def test_the_examples_of_the_command_line_run_one_after_the_other(tmp_path: Path) -> None:
    path = tmp_path / "store"
    with libqueue.open(path) as store:
        store.topic("orders").send_many([b"paid", b"sent"])
    told = [
        run(path, *line.split()[1:])
        for example in examples("sh", least=1)
        for line in example.splitlines()
        if line.startswith("libqueue ")
    ]
    assert [one.stderr for one in told[-2:]] == [b"moved 2 messages\n", b""]
    assert told[-1].stdout == b'{"moved": 0}\n'
    with libqueue.open(path) as store, store.topic("archive").reader() as reader:
        assert [one.payload for one in reader] == [b"paid", b"sent"]
        assert store.topic("orders").group("archiving").stats()["lag_messages"] == 0


def test_the_examples_in_c_are_c(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is needed"
    for number, example in enumerate(examples("c")):
        source = tmp_path / f"example{number}.c"
        unused = "".join(f"    (void){name};\n" for name in NAMES)
        source.write_text(f"{PROGRAM}{unused}{{\n{example}}}\n}}\n")
        flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT}/include"]
        call = [compiler, *flags, str(source)]
        checked = subprocess.run(call, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{example}\n{checked.stderr}"
