"""WowMemory: remembers texts per conversation and finds them again. All its processes share one SQLite file in the state directory."""

import os
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Header, HTTPException
from pydantic import BaseModel, Field

from servicing_sdk import Servicing

VERSION = (Path(__file__).parent / "VERSION").read_text().strip()
BYTES_PER_GB = 1_000_000_000
MOST_RECALLED = 20

SCHEMA = """
CREATE TABLE IF NOT EXISTS memories (id INTEGER PRIMARY KEY, conversation TEXT NOT NULL, text TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS memories_by_conversation ON memories (conversation, id);
CREATE TABLE IF NOT EXISTS sizes (conversation TEXT PRIMARY KEY, bytes INTEGER NOT NULL);
"""


class Settings(BaseModel):
    """The configuration; what it does not say holds by default."""

    max_context_size_gb: float = Field(default=10, gt=0, le=100)
    timeout_seconds: float = Field(default=30, gt=0, le=300)


servicing = Servicing(config_model=Settings, state_writes=1, state_reads=[1])


class Memories:
    """The file. One connection per process, used by one thread at a time; other processes are kept apart by SQLite's own locks."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(folder / "memories.sqlite3", check_same_thread=False, isolation_level=None)
        self.configure(settings)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(SCHEMA)

    def configure(self, settings: Settings) -> None:
        """From the next request on."""
        with self._lock:
            self._most_bytes = settings.max_context_size_gb * BYTES_PER_GB
            self._database.execute(f"PRAGMA busy_timeout = {int(settings.timeout_seconds * 1000)}")

    def remember(self, conversation: str, text: str) -> int:
        """Keep the text and return its number. Raises `OverflowError` when the conversation would outgrow its limit."""
        size = len(text.encode())
        with self._lock, self._database:
            self._database.execute("BEGIN IMMEDIATE")
            (total,) = self._database.execute(
                "INSERT INTO sizes VALUES (?, ?) ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes RETURNING bytes",
                (conversation, size),
            ).fetchone()
            if total > self._most_bytes:
                raise OverflowError(f"a conversation holds at most {self._most_bytes:.0f} bytes")
            added = self._database.execute("INSERT INTO memories (conversation, text) VALUES (?, ?)", (conversation, text))
            return int(added.lastrowid or 0)

    def recall(self, conversation: str, wanted: str) -> list[str]:
        """The newest texts of the conversation that contain the wanted words."""
        with self._lock:
            rows = self._database.execute(
                "SELECT text FROM memories WHERE (conversation = :conversation OR :conversation = '') AND text LIKE '%' || :wanted || '%'"
                " ORDER BY id DESC LIMIT :most",
                {"conversation": conversation, "wanted": wanted, "most": MOST_RECALLED},
            ).fetchall()
        return [text for (text,) in rows]

    def close(self) -> None:
        self._database.close()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.memories = Memories(Path(os.environ.get("SERVICING_STATE_DIR", "state")), servicing.config)
    async with servicing.lifespan(app):
        yield
    app.state.memories.close()


app = FastAPI(title="WowMemory", version=VERSION, lifespan=lifespan)
servicing.mount(app)
Conversation = Annotated[str, Header(alias="X-Conversation-Id", max_length=200)]


@servicing.on_config
def configure(new: Settings, old: Settings) -> None:
    app.state.memories.configure(new)


@servicing.state.import_
def take_in(record: dict[str, Any]) -> None:
    """A memory that a version which was taken back had written; what cannot be understood is refused by raising."""
    if record["place"] != "memories.sqlite3/memories":
        raise ValueError(f"{record['place']} holds no memories")
    app.state.memories.remember(record["value"]["conversation"], record["value"]["text"])


class Memory(BaseModel):
    text: str = Field(min_length=1, max_length=10_000)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/version")
async def version() -> dict[str, str]:
    return {"agent": "WowMemory", "version": VERSION}


@app.post("/remember")
def remember(memory: Memory, conversation: Conversation = "") -> dict[str, int]:
    try:
        return {"remembered": app.state.memories.remember(conversation, memory.text)}
    except OverflowError as error:
        raise HTTPException(413, str(error)) from error


@app.get("/recall")
def recall(q: str = "", conversation: Conversation = "") -> dict[str, list[str]]:
    return {"memories": app.state.memories.recall(conversation, q)}
