"""An editor finds its way through a checkout, without anything installed: the links in ringkv/ are enough for it."""

from collections.abc import Callable
from pathlib import Path

import jedi

from tests.packaging.conftest import Environment


def test_go_to_definition_leads_to_the_file_in_its_room(tree: Path, environment: Callable[[], Environment]) -> None:
    bare = jedi.create_environment(environment().folder, safe=False)
    user = tree / "router/members/leasing.py"
    script = jedi.Script(path=user, project=jedi.Project(tree), environment=bare)
    places = [
        (number, line.index("Link"))
        for number, line in enumerate(user.read_text().splitlines(), start=1)
        if "dict[str, Link]" in line or line.startswith("from ringkv.router.lookup.link import")
    ]
    assert len(places) > 1
    for line, column in places:
        found = script.goto(line, column, follow_imports=True)
        assert [(name.full_name, name.type) for name in found] == [("ringkv.router.lookup.link.Link", "class")]
        assert found[0].module_path is not None
        assert found[0].module_path.resolve() == tree / "router/lookup/link.py"
