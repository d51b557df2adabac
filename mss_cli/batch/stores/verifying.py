"""Are the files of an output folder on a store those of their records: each is fetched, hashed and removed."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from mss_cli.batch.decisions import Verified
from mss_cli.batch.records import RECORD_SUFFIX, WrittenFile, read_record, sha256_of
from mss_cli.batch.stores.addresses import Address, Status, Store
from mss_cli.batch.stores.mirror import own_folder
from mss_cli.errors import InputError


def verify_store(address: str) -> Iterator[Verified]:
    """Hash every file of every record below an address, in sorted order.

    Raises
    ------
    UsageError
        If what reads such addresses is not installed.
    InputError
        If the store does not answer.
    """
    store = Store(address)
    listing = store.listing()
    with own_folder(None) as folder:
        path = folder / "file"
        for name in sorted(name for name in listing if name.endswith(RECORD_SUFFIX)):
            shown = Address(f"{store.address}/{name}")
            store.fetch({name: path})
            record = read_record(path)
            if record is None:
                yield Verified(shown, 0, ("the record cannot be read",))
                continue
            found = [(file, _trouble(file, name, store, listing, path)) for file in record.files]
            troubles = tuple(f"`{file.path}` {trouble}" for file, trouble in found if trouble is not None)
            yield Verified(shown, len(found), troubles)


def _trouble(file: WrittenFile, record: str, store: Store, listing: Mapping[str, Status], path: Path) -> str | None:
    name = (PurePosixPath(record).parent / file.path.as_posix()).as_posix()
    status = listing.get(name)
    if status is None:
        return "is missing"
    if status.size_bytes != file.content.size_bytes:
        return f"has {status.size_bytes} bytes instead of {file.content.size_bytes}"
    try:
        store.fetch({name: path})
    except InputError as error:
        return error.message
    return None if sha256_of(path) == file.content.sha256 else "has other content"
