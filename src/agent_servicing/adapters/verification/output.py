"""What a command printed, as far as it is worth keeping: its last bytes, in memory, however much there was."""

KEPT_BYTES = 64 * 1024
"""The end of a long test run; the summary and the last traceback are there."""

TAIL_LINES = 20
LINE_CHARS = 500


class Output:
    """Feed it everything; it keeps the end."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def add(self, piece: bytes) -> None:
        self._kept += piece
        if len(self._kept) > 2 * KEPT_BYTES:
            del self._kept[:-KEPT_BYTES]

    def lines(self) -> list[str]:
        """The last lines, oldest first. Bytes that are no UTF-8, and control characters, are replaced: this is shown on screens."""
        text = self._kept[-KEPT_BYTES:].decode("utf-8", "replace")
        lines = [printable(line.rstrip()) for line in text.splitlines()]
        return [line[:LINE_CHARS] for line in lines if line][-TAIL_LINES:]


def printable(line: str) -> str:
    """Control characters are replaced, tabs stay."""
    return "".join(character if character.isprintable() or character == "\t" else "\ufffd" for character in line)
