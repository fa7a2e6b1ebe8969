"""Make the `sync_….py` from the `async_….py`: `python ee2_client/make_sync.py`.

The two clients are the same text but for the words of asyncio. A test fails when they are not.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
FILES = {"async_client.py": "sync_client.py", "async_connection.py": "sync_connection.py"}
HEAD = '"""Made from `{}` by `make_sync.py`: change that file."""'
WORDS = {
    r"AsyncGenerator, Mapping": "Generator, Mapping",
    r"from collections\.abc import Awaitable, Callable": "from collections.abc import Callable",
    r"import asyncio\nimport os\n": "import os\nimport time\n",
    r"import asyncio\n": "",
    r"asyncio\.sleep": "time.sleep",
    r"(from ee2_client\.async_connection .*\n)(from ee2_client\.errors .*\n)": r"\2\1",
    r"Callable\[\[\], Awaitable\[T\]\]": "Callable[[], T]",
    r"AsyncBaseTransport": "BaseTransport",
    r"Async(Client|Connection)": r"\1",
    r"async_connection": "sync_connection",
    r"AsyncGenerator\[(.*), None\]": r"Generator[\1, None, None]",
    r"async (def|for|with)": r"\1",
    r"\bawait ": "",
    r"__aenter__": "__enter__",
    r"__aexit__": "__exit__",
    r"\baclos(e|ing)\b": r"clos\1",
    r"\baread\b": "read",
    r"\baiter_bytes\b": "iter_bytes",
}


def sync_text(name: str) -> str:
    """What the file made from this one must contain."""
    text = (HERE / name).read_text()
    text = HEAD.format(name) + text[text.index("\n") :]
    for pattern, word in WORDS.items():
        text = re.sub(pattern, word, text)
    return text


if __name__ == "__main__":
    for source, target in FILES.items():
        (HERE / target).write_text(sync_text(source))
