"""What a server allows."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Limits of a server. What exceeds one is refused at once, with a status that says so, never kept waiting."""

    max_body_bytes: int = 8_000_000
    """The longest request body; a longer one gets 413."""
    max_buffered_bytes: int = 256_000_000
    """The most bytes of bodies that are held while they are read, of all requests; a request beyond them gets 429."""
    max_texts: int = 2048
    """The most texts in one request (OpenAI's limit); more get 413 or 422."""
    max_text_tokens: int | None = None
    """The most tokens of a text that are run; longer ones get 413 or 422. ``None`` for the model's own limit."""
    max_queued_tokens: int = 262_144
    """The most tokens that wait or run at once, of all requests; a request beyond them gets 429."""
    max_requests: int = 1024
    """The most requests under way at once, counted from the end of their bodies; one more gets 429."""
    max_wait_s: float = 30.0
    """The longest time that a request waits for its turn; then it gets 429."""
    header_timeout_s: float = 10.0
    """The longest time from a request's first byte to the end of its headers; then it gets 408."""
    body_timeout_s: float = 30.0
    """The longest time from a request's headers to the end of its body; then it gets 408."""
    write_timeout_s: float = 30.0
    """How long an answer may wait for a client that reads nothing of it; then the connection is closed."""
    keep_alive_s: float = 75.0
    """How long an idle connection stays open."""
    grace_s: float = 30.0
    """How long requests under way may take after SIGTERM."""
    page: bool = True
    """Whether ``/`` and ``/docs`` are served."""
    open_metrics: bool = False
    """Whether ``/metrics`` and the page need no key."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call this server; none by default."""
