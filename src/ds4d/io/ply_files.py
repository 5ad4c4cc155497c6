"""Reading of PLY files from outside: their header is compared with their size before anything is allocated."""

from pathlib import Path

from plyfile import PlyData, PlyParseError

from ds4d.io.bounded_files import check_regular

_MAX_BYTES = 2**31
_MAX_HEADER_BYTES = 2**16
_TYPE_BYTES = {
    **dict.fromkeys(("char", "uchar", "int8", "uint8"), 1),
    **dict.fromkeys(("short", "ushort", "int16", "uint16", "float16"), 2),
    **dict.fromkeys(("int", "uint", "int32", "uint32", "float", "float32"), 4),
    **dict.fromkeys(("double", "float64", "int64", "uint64"), 8),
}


def check_ply(path: str | Path, *, max_bytes: int = _MAX_BYTES, lists: bool = True) -> None:
    """Refuses a PLY file whose header promises more than the file can hold.

    Readers allocate what the header promises before they read it.

    Args:
        path: PLY file.
        max_bytes: largest size that is accepted.
        lists: whether properties may be lists, as the faces of a mesh are.

    Raises:
        ValueError: the header is damaged, or promises more than there is; or a property is a list and may not be.
        OSError: there is nothing at the path, or it cannot be read.
    """
    size = check_regular(path, max_bytes=max_bytes)
    with open(path, "rb") as file:
        head = file.read(_MAX_HEADER_BYTES)
    text, end, _ = head.partition(b"end_header")
    if not head.startswith(b"ply") or not end:
        raise ValueError(f"{path} must be a valid PLY file, got one without a header. Export it again.")
    lines = [line.split() for line in text.decode("ascii", "replace").splitlines()]
    is_text = ["format", "ascii"] in (line[:2] for line in lines)
    least, rows, row_bytes = 0, 0, 0
    for line in [*lines, ["element", "", "0"]]:
        if line[:1] == ["element"]:
            least += rows * max(1, row_bytes)  # a row of no properties would cost a file nothing
            rows, row_bytes = _count(line, path), 0
        elif line[:1] == ["property"] and len(line) > 2:
            if line[1] == "list" and not lists:
                raise ValueError(
                    f"{path} must have the properties of 3D Gaussians, got the list {line[-1]!r} of a mesh."
                )
            kind = line[2] if line[1] == "list" else line[1]  # a list has at least its length
            row_bytes += 2 if is_text else _TYPE_BYTES.get(kind, 1)  # a digit and a separator
    if least > size + 1:  # the last line of a text may lack its end
        raise ValueError(f"{path} must be a valid PLY file, got {size} bytes for {least} that its header names.")


def read_ply_file(path: str | Path) -> PlyData:
    """The elements of a PLY file without lists.

    Raises:
        ValueError: the path leads to no file, or to one that is damaged, or holds lists as meshes do.
        OSError: it cannot be read.
    """
    check_ply(path, lists=False)
    try:
        return PlyData.read(str(path))  # maps the file: row by row would take seconds
    except (PlyParseError, UnicodeDecodeError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} must be a valid PLY file, got one that cannot be read ({error}).") from error


def _count(line: list[str], path: str | Path) -> int:
    if len(line) != 3 or not line[2].isdecimal() or len(line[2]) > 18:
        raise ValueError(f"{path}: {' '.join(line)[:80]!r} must name an element and its count. Export it again.")
    return int(line[2])
