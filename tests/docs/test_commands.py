"""Every command in README.md and docs/ does what the document says."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.docs.documents import Command, UnknownForm, blocks, documents
from tests.docs.reader import Failed, Reader, make_tree, server_of
from tests.support.data import ROOT
from tests.support.processes import Spawner

DOCUMENTS: Final = documents(ROOT)


def without_cluster(text: str) -> str:
    """What of a `kubectl` command can be done where there is no Kubernetes."""
    if applied := re.fullmatch(r"kubectl apply -k (\S+)", text):
        return f"kubectl kustomize {applied[1]} >/dev/null"
    return f"{text} --dry-run=client" if re.match(r"kubectl create (namespace|secret|configmap)\b", text) else ":"


EXCEPTIONS: Final[dict[str, tuple[Callable[[str], str], str]]] = {
    r"(\w+=\S+ )*docker .*": (lambda _: ":", "tests/compose/test_documents.py has an engine"),
    r"kubectl .*": (without_cluster, "tests/deploy has no cluster either: it is rendered, or made and not sent"),
    r"make (test|check|chaos|fuzz|attacks|million|spark|swarm|bench|large|remote|bench-micro)\b.*": (
        lambda text: text.replace("make", "make -n", 1),
        "minutes, and tests within tests: the target is there and expands",
    ),
}
"""What is not run as it is written: what is run instead, and why."""


def changed(command: Command) -> Command:
    for form, (change, _) in EXCEPTIONS.items():
        if re.fullmatch(form, command.text, re.DOTALL):
            return replace(command, text=change(command.text), shown="")
    return command


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean copy of the project, of which each reader gets one of its own."""
    return make_tree(tmp_path_factory.mktemp("clean") / "ringkv")


@pytest.fixture
def reader(spawn: Spawner, tree: Path, tmp_path: Path) -> Iterator[Reader]:
    if os.geteuid() or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        if os.environ.get("CI") == "true":
            pytest.fail("network namespaces need root and iproute2, and CI must not skip its tests")
        pytest.skip("network namespaces need root and iproute2")
    reader = Reader(spawn, tree, tmp_path)
    yield reader
    reader.end_servers()


@pytest.fixture
def follow(reader: Reader, tmp_path: Path) -> Callable[[str], None]:
    """Follows a document of this text."""

    def follow(text: str) -> None:
        document = tmp_path / "small.md"
        document.write_text(text)
        for block in blocks(document):
            reader.follow(block)

    return follow


@pytest.mark.timeout(600)  # each command has a deadline of its own
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_of_a_document_work_as_they_stand(document: Path, reader: Reader) -> None:
    absent = set()
    for block in blocks(document):
        if lacking := {command.needs for command in block if command.needs and not shutil.which(command.needs)}:
            absent |= lacking
        else:
            reader.follow(tuple(map(changed, block)))
    assert reader.left_behind() == ""
    if absent:
        reason = f"not installed: {', '.join(sorted(absent))}; all but its programs was run"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}, and CI must not skip its tests")
        pytest.skip(reason)


def test_each_exception_is_needed() -> None:
    commands = [command.text for document in DOCUMENTS for block in blocks(document) for command in block]
    idle = [form for form in EXCEPTIONS if not any(re.fullmatch(form, text, re.DOTALL) for text in commands)]
    assert not idle


def test_a_document_is_followed_like_a_user_would(follow: Callable[[str], None]) -> None:
    follow("""
```sh
# A comment
export GREETING='good
morning'
cd docs
ringkv up ../example.data --redis-port 6380 &
cat <<END \\
    >../build.txt
$GREETING
END
```

```console
$ cat ../build.txt      # a comment
good
morning
$ curl -s localhost:8000/f8a24bb8-eff8-41dc-929b-10b4c3e49e05
1234
$ redis-cli -p 6380 INFO server
# Server
…
redis_mode:…
…
```

```console
$ cd ..
$ make run PORT=8000
ringkv: ready on http://127.0.0.1:8000
```
""")


def test_a_program_is_run_in_its_language(follow: Callable[[str], None]) -> None:
    follow("""
```python
import sys
print("one", *sys.argv[1:])
```

```output
one
```

```javascript
import { readFileSync } from "node:fs";
console.log(readFileSync("README.md", "utf8").split("\\n")[0]);
```

```output
# ringkv
```

```java
public class Main {
    public static void main(String[] args) {
        System.out.println("$HOME is not the shell's here");
    }
}
```

```output
$HOME …
```

```go
package main

func main() { println(`two "lines"`) }
```

```output
two "lines"
```
""")


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("```sh\ntrue\nfalse\n```", r"small\.md:3: false\nended with 1"),
        ("```sh\nfalse | cat\n```", r"ended with 1"),
        ("```python\nraise SystemExit(3)\n```", r"small\.md:1: python[^$]*\nended with 3"),
        ("```javascript\nconsole.log(1)\n```\n\n```output\n2\n```", r"prints:\n1\n\nand not:\n2"),
        ("```console\n$ echo one two\none\n```", r"small\.md:2: .*\nprints:\none two\n\nand not:\none$"),
        ("```console\n$ echo one\n… two\n```", r"prints:\none\n"),
        ("```console\n$ make run\nringkv: ready on another port\n```", r"and not:\nringkv: ready on another port"),
        ("```sh\nringkv up missing.data\n```", r"small\.md:2: .*missing\.data"),
        (
            "```sh\nringkv up example.data\n```\n\n```sh\nringkv up example.data --port 1\ncurl -s localhost:8000\n```",
            r"small\.md:7: .*\nended with 7",
        ),
    ],
    ids=[
        "fails",
        "fails in a pipe",
        "program fails",
        "program differs",
        "differs",
        "differs from the pattern",
        "server differs",
        "no server",
        "ended",
    ],
)
def test_a_document_that_is_wrong_fails(follow: Callable[[str], None], block: str, message: str) -> None:
    with pytest.raises(Failed, match=message):
        follow(block)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("```bash\nls\n```", r"small\.md:1: a block of 'bash'"),
        ("```\n$ ls\n```", r"small\.md:1: commands in a block"),
        ("```sh\nls\n```\n\n```output\n```", r"small\.md:5: the output of no program"),
        ("Text\n\n    ls\n", r"small\.md:3: an indented block"),
        ("```console\nls\n$ ls\n```", r"small\.md:2: 'ls' before the first"),
        ("```sh\nls\necho 'one\n```", r"small\.md:3: a command without an end"),
        ("```sh\nsleep 9 &\n```", r"small\.md:2: sleep 9 &\nis started in the background"),
    ],
    ids=["language", "unmarked", "output of nothing", "indented", "no prompt", "no end", "unknown server"],
)
def test_a_form_that_nobody_knows_to_run_fails(tmp_path: Path, block: str, message: str) -> None:
    document = tmp_path / "small.md"
    document.write_text(block)

    def understand() -> None:
        for commands in blocks(document):
            list(map(server_of, commands))

    with pytest.raises(UnknownForm, match=message):
        understand()
