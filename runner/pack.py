"""Makes the runner that HTCondor brings to the nodes: the same one file, compiled beforehand.

Compiling the runner's source at each start takes as long as all the rest of a short job (12 of
24 ms). The packed file carries the compiled code of one Python version beside the source, and
falls back to the source on a node that has another version.
"""
from __future__ import annotations

import base64
import os
import subprocess
import zlib
from pathlib import Path

COMPILE = """
import base64, importlib.util, marshal, sys
code = compile(sys.stdin.buffer.read(), "ee2_runner.py", "exec", dont_inherit=True)
print(importlib.util.MAGIC_NUMBER.hex(), base64.b64encode(marshal.dumps(code)).decode())
"""

PACKED = """{shebang}
import _frozen_importlib_external as _external
if _external.MAGIC_NUMBER.hex() == "{magic}":
    import binascii, marshal
    exec(marshal.loads(binascii.a2b_base64("{code}")))
else:
    import binascii, zlib
    exec(compile(zlib.decompress(binascii.a2b_base64("{source}")), "ee2_runner.py", "exec"))
"""


def pack(source: Path, target: Path, python: str = "/usr/bin/python3") -> None:
    """Writes the packed runner to `target` (mode 0755), complete or not at all.

    `python` is the interpreter of the nodes, or one of the same version. Raises OSError or
    subprocess.CalledProcessError if it cannot be run; the source itself serves then, too.
    """
    text = source.read_text(encoding="utf-8")
    done = subprocess.run([python, "-IS", "-c", COMPILE], input=text.encode(),
                          stdout=subprocess.PIPE, check=True, timeout=60)
    magic, code = done.stdout.decode("ascii").split()
    # Compressed, because reading it costs time at each start, and it is hardly ever used.
    source_text = base64.b64encode(zlib.compress(text.encode(), 9)).decode("ascii")
    packed = PACKED.format(shebang=text.split("\n", 1)[0], magic=magic, code=code,
                           source=source_text)
    new = target.with_name(f"{target.name}.{os.getpid()}")
    new.write_text(packed, encoding="utf-8")
    new.chmod(0o755)
    new.replace(target)
