"""The examples of `core/docs/delivery.md` do what stands there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import libqueue

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "core/docs/delivery.md").read_text()
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


def examples(language: str) -> list[str]:
    found = re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.M | re.S)
    assert len(found) > 5, language
    return [str(one) for one in found]


def test_the_examples_in_python_run_one_after_the_other(tmp_path: Path) -> None:
    names: dict[str, object] = {"libqueue": libqueue, "folder": tmp_path / "store"}
    for example in examples("python"):
        exec(compile(example, "delivery.md", "exec"), names)
    store = names["store"]
    assert isinstance(store, libqueue.Store)
    assert {"orders", "orders.mail.dlq"} <= set(store.topics())
    assert store.topic("orders").group("ledger").config["on_dead_letter"] == "hold_key"


def test_the_examples_in_c_are_c(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    assert compiler, "a C compiler is needed"
    for number, example in enumerate(examples("c")):
        source = tmp_path / f"example{number}.c"
        unused = "".join(
            f"    (void){name};\n" for name in ("topic", "group", "consumer", "batch", "delivery")
        )
        source.write_text(f"{PROGRAM}{unused}{{\n{example}}}\n}}\n")
        flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT}/include"]
        call = [compiler, *flags, str(source)]
        checked = subprocess.run(call, capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{example}\n{checked.stderr}"


def test_the_examples_of_the_command_line_name_what_there_is() -> None:
    known = set()
    for line in "".join(examples("sh")).splitlines():
        words = line.split("libqueue ", 1)[1].split()
        known.add(" ".join(words[:2] if words[0] == "dlq" else words[:1]))
    tool = Path(sys.executable).with_name("libqueue")
    for command in sorted(known):
        call = [str(tool), *command.split(), "--help"]
        done = subprocess.run(call, capture_output=True, check=False)
        assert done.returncode == 0, command
