"""The rules every request passes in HAProxy, in order: which agent, which generation, counted where, answered how. Pure text.

HAProxy evaluates a named condition anew wherever it is used, so `chosen`, `live` and `fine` mean "by now". Every rule costs about 0.1
microseconds even when its condition fails, so rarer cases stand behind an `allow`, which ends the list for all others. Variables are kept in
lists that are searched from the start: `txn` holds only what the response needs, too. Conditions are booleans where they can be, because a
comparison with a pattern takes a lock that all threads share.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from agent_servicing.adapters.router import haproxy_cookies
from agent_servicing.core.manifest import ConversationKey

RETRY_AFTER_SECONDS = 2
"""What a client without an answer is told to wait; a crashed instance is usually back by then."""

CLOCKS_APART_US = 1_000_000
"""Threads read the clock once for each batch of events, so that the time of one may lie behind what another has just written."""

LAST_RESORT = "use-server %[var(req.last)] if { var(req.last) -m found }"
"""In every backend: a draining server answers when nothing else can."""

ANSWER_IN_TIME = (
    # Longer than any timeout: what ends the wait is the script, which knows how long this request may take.
    "tcp-response inspect-delay 24d",
    "tcp-response content lua.answer_in_time if { var(txn.timeout) -m found }",
)
"""In every backend: an instance that has not begun its answer when it should have."""

_AGENT = "%[var(txn.agent)]"
_UNAVAILABLE = 503

_FETCH = {"header": "req.fhdr({})", "cookie": "req.cook({})", "query": "url_param({})"}

_PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    "<title>{title}</title><style>body{{font:16px/1.5 system-ui;max-width:34rem;margin:18vh auto;padding:0 1rem}}</style>"
    "<h1>{title}</h1><p>{detail}</p></html>"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """File names of the maps that the rules look into."""

    agents: str
    hosts: str
    pins: str
    labels: str
    saved_pins: str
    latency: str


def error_pages() -> list[str]:
    """Bodies for errors that HAProxy finds itself: in what the client sent, or after an instance was chosen."""
    before = {
        400: ("The request is malformed", "It is not valid HTTP/1.1 or HTTP/2, or its headers are larger than 16 KB."),
        408: ("The request did not arrive in time", "Its headers were not complete within the time allowed."),
        500: ("The data plane failed", "It could not process this request."),
    }
    after = {
        502: ("The agent broke off its answer", "The instance that had this request closed the connection before it answered."),
        503: (
            "The agent cannot be reached",
            "No instance of the agent accepted the connection. It is probably restarting; try again soon.",
        ),
        504: ("The agent did not answer in time", "The instance that had this request took longer than the data plane waits."),
    }
    return [
        *(f"  http-error status {status} {_body(status, *text)} {_served_by('-')}" for status, text in before.items()),
        *(f"  http-error status {status} {_body(status, *text)} {_served_by(_AGENT)} {_retry_after()}" for status, text in after.items()),
    ]


def frontend(keys: Sequence[ConversationKey], maps: Maps, *, radix: int, unknown: int) -> list[str]:
    """Everything between `bind` and the backends: requests outside conversations, those in conversations, those that found nobody usable."""
    return [
        *_which_agent(maps),
        *_not_for_clients(),
        *_limits(),
        *_which_conversation(keys),
        # Only what is harmless to repeat may be sent again after it may have arrived.
        "http-request disable-l7-retry unless { method GET HEAD OPTIONS }",
        *_without_conversation(),
        "http-request allow if fine",
        *_in_conversation(maps),
        "http-request allow if fine",
        *_unknown_agent(),
        *_other_backend(maps),
        "http-request allow if fine",
        *_nothing_to_serve(),
        *_answer(maps, radix, unknown),
        "use_backend %[var(req.to),field(1,:)]",
    ]


def _which_agent(maps: Maps) -> list[str]:
    return [
        "option forwardfor",
        "http-request set-var(txn.began) date(0,us)",
        # The host name goes first: behind it, a path may begin with anything.
        f"http-request set-var(req.hosted) req.hdr(host),lower,map_beg({maps.hosts})",
        "acl by_host var(req.hosted) -m found",
        "http-request set-var(txn.agent) path,field(2,/) unless by_host",
        "http-request set-header X-Forwarded-Prefix /%[var(txn.agent)] unless by_host",
        "http-request set-path /%[path,field(3,/,0)] unless by_host",
        "http-request set-var(txn.agent) var(req.hosted) if by_host",
        "http-request del-header X-Forwarded-Prefix if by_host",
        "http-request set-header X-Forwarded-Proto http unless { req.hdr(X-Forwarded-Proto) -m found }",
        f"http-request set-var(req.row) var(txn.agent),map_str({maps.agents})",
        "http-request set-var(req.share) var(req.row),field(1,|),add(0)",
    ]


def _not_for_clients() -> list[str]:
    """Where the server speaks to instances is not reachable from outside, however it is written; nor is the server's session for agents."""
    detail = "Paths below /.well-known/servicing are between an instance and its server."
    path = "path,url_dec,url_dec,lower"  # twice, should something before the agent decode it too
    spelt = f"{{ {path} -m sub .well-known }} {{ {path} -m reg '[.]well-known/(.*/)?servicing' }}"
    return [haproxy_cookies.from_requests(), *_reply(404, "Not for clients", detail, _AGENT, spelt)]


def _limits() -> list[str]:
    """The two limits of the agent's row. Who has none pays for conditions only.

    The rate is a bucket kept as one time, of the request that would be next were all evenly spread; `ahead` is how far that lies in the
    future. A difference that is clearly larger than the whole bucket is one to the past, or from a limit that was lower: then the bucket is
    full. Two requests in the same microsecond on two threads may share one place.
    """
    detail = "The agent takes no more requests than its operator allows. Wait as long as Retry-After says."
    impossible = f"{{ var(req.ahead),sub(req.tolerance),sub(req.every) gt {CLOCKS_APART_US} }}"
    wait = "hdr Retry-After %[var(req.ahead),sub(req.tolerance),add(999999),div(1000000)]"
    return [
        "http-request set-var(txn.timeout) var(req.row),field(10,|) if { var(req.row),field(10,|),length -m bool }",
        "http-request track-sc3 var(req.row),field(5,|),add(0) table limits if { var(req.row),field(9,|),length -m bool }",
        "acl limited sc_tracked(3) -m bool",
        # A bucket that nobody drew from yet, which is no time at all, though its number may look like one that is near.
        "acl never sc_get_gpt0(3) eq 0",
        "http-request set-var(req.limit) var(req.row),field(9,|) if limited",
        "http-request set-var(req.every) var(req.limit),field(1,:),add(0) if limited",
        "http-request set-var(req.tolerance) var(req.limit),field(2,:),add(0) if limited",
        "http-request set-var(req.now) date(0,us),and(4294967295) if limited",
        "http-request set-var(req.ahead) sc_get_gpt0(3),sub(req.now),and(4294967295) if limited",
        f"http-request set-var(req.ahead) int(0) if limited {impossible} or limited never",
        "acl beyond var(req.ahead),sub(req.tolerance) gt 0",
        "http-request set-var(req.next) var(req.now),add(req.ahead),add(req.every),and(4294967295) if limited",
        "http-request sc-set-gpt0(3) var(req.next) if limited !beyond",
        "http-request track-sc1 var(req.row),field(6,|),add(1) table tallies if limited beyond",
        *_reply(429, "Too many requests", detail, _AGENT, "limited beyond", wait),
    ]


def _which_conversation(keys: Sequence[ConversationKey]) -> list[str]:
    """An empty key is no conversation."""
    rules = ["acl talk var(req.conversation) -m found"]
    for key in keys:
        fetch = _FETCH[key.kind].format(key.name)
        wanted = f"{{ {fetch},length -m bool }} {{ var(req.row),field(4,|) -m str {key} }}"
        rules.append(f"http-request set-var(req.conversation) {fetch} if {wanted}")
    return rules


def _without_conversation() -> list[str]:
    """`req.to` becomes the target, candidate or stable by lot. In a conversation it is chosen again by the rules that follow."""
    return [
        "acl live var(req.to),field(1,:),nbsrv -m bool",
        "acl fine var(txn.id) -m found",
        "http-request set-var(req.to) var(req.row),field(2,|)",
        "http-request set-var(req.to) var(req.row),field(3,|) if { rand(10000),sub(req.share) lt 0 }",
        "http-request set-var(txn.id) var(req.to),field(2,:),add(0) if !talk live",
        "http-request track-sc1 var(txn.id) table tallies",
    ]


def _in_conversation(maps: Maps) -> list[str]:
    """The target is where the pin leads, else candidate or stable by the hash of the conversation."""
    bucket = "var(req.topic),xxh32(7),mod(10000),sub(req.share)"
    return [
        "http-request set-var(req.topic) var(txn.agent),concat(/,req.conversation) if talk",
        "http-request set-var(req.pinkey) var(req.topic),xxh64 if talk",
        "http-request track-sc0 var(req.pinkey) table pins if talk",
        "http-request set-var(req.pin) sc_get_gpt0(0) if talk",
        "acl pinned var(req.pin) -m int gt 0",
        # Pins from before a restart; what the table knows is newer.
        f"http-request set-var(req.pin) var(req.pinkey),map_str_int({maps.saved_pins},0) if talk !pinned",
        f"http-request set-var(req.kept) var(req.row),field(5,|),concat(.,req.pin),map_str({maps.pins}) if talk pinned",
        "acl kept var(req.kept) -m found",
        "http-request set-var(req.to) var(req.kept) if kept",
        "http-request set-var(req.to) var(req.row),field(2,|) if talk !kept",
        f"http-request set-var(req.to) var(req.row),field(3,|) if talk !kept {{ {bucket} lt 0 }}",
        "http-request set-var(txn.id) var(req.to),field(2,:),add(0) if talk live",
        *_count(),
    ]


def _count() -> list[str]:
    """One more request for the generation, and the conversation is pinned to it; one that was not there before is counted as having come.

    The pin it is compared with may be one from before a restart, so that nobody comes twice because of that.
    """
    return [
        "http-request set-var(txn.id) var(txn.id),add(1) if kept fine",
        "http-request track-sc1 var(txn.id) table tallies if fine",
        "http-request set-var(req.tally) var(req.to),field(2,:),div(2) if talk",
        "http-request sc-inc-gpc(2,1) if talk fine !{ var(req.pin),sub(req.tally) eq 0 }",
        "http-request sc-set-gpt0(0) var(req.tally) if talk fine !{ sc_get_gpt0(0),sub(req.tally) eq 0 }",
    ]


def _other_backend(maps: Maps) -> list[str]:
    """Stable, else the candidate, else a draining server of either."""
    rules = []
    for field in (2, 3):
        rules += [
            f"http-request set-var(req.to) var(req.row),field({field},|) unless fine",
            "http-request set-var(txn.id) var(req.to),field(2,:),add(0) if !fine live",
        ]
    for field in (2, 3):
        rules += [
            f"http-request set-var(req.to) var(req.row),field({field},|) unless fine",
            f"http-request set-var(req.last) var(req.to),field(1,:),concat(/last),map_str({maps.labels}) unless fine",
            "http-request set-var(txn.id) var(req.to),field(2,:),add(0) if !fine { var(req.last) -m found }",
        ]
    return [*rules, *_count()]


def _unknown_agent() -> list[str]:
    detail = "The first part of the path or of the host name must be the id of an agent, exactly as it was added."
    return ["acl known var(req.row) -m found", *_reply(404, "No such agent", detail, "-", "!known")]


def _nothing_to_serve() -> list[str]:
    detail = "It has no running instance at the moment. It is probably starting; try again in a few seconds."
    return [
        "http-request track-sc1 var(req.row),field(6,|) table tallies",
        *_reply(503, "The agent has nothing to serve this request", detail, _AGENT, "!fine"),
    ]


def _answer(maps: Maps, radix: int, unknown: int) -> list[str]:
    """Who answered, and one count per answer: its latency bucket, or an error, or a refusal (4xx)."""
    return [
        haproxy_cookies.from_answers(),
        f"http-response set-header X-Served-By %[srv_name,map_str({maps.labels},-)]",
        f"http-response set-var(res.bucket) date(0,us),sub(txn.began),map_ip({maps.latency},{unknown})",
        f"http-response track-sc2 var(txn.id),mul({radix}),add(res.bucket) table latencies unless {{ status,div(400) -m bool }}",
        "http-after-response sc-inc-gpc(0,1) if { status,div(500) -m bool }",
        "http-after-response sc-inc-gpc(1,1) if { status,div(400) -m bool } !{ status,div(500) -m bool }",
    ]


def _reply(status: int, title: str, detail: str, agent: str, condition: str, more: str = "") -> list[str]:
    """An answer of our own: a page for people, a problem document for programs."""
    extra = f"{_served_by(agent)} {_retry_after()}" if status == _UNAVAILABLE else f"{_served_by(agent)} {more}".rstrip()
    page = f"content-type 'text/html; charset=utf-8' string '{_PAGE.format(title=title, detail=detail)}'"
    html = "{ req.hdr(accept) -m sub text/html }"
    return [
        f"http-request return status {status} {page} {extra} if {condition} {html}",
        f"http-request return status {status} {_body(status, title, detail)} {extra} if {condition}",
    ]


def _body(status: int, title: str, detail: str) -> str:
    problem = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})
    return f"content-type application/problem+json string '{problem}'"


def _served_by(agent: str) -> str:
    return f"hdr X-Served-By {agent}@-/router"


def _retry_after() -> str:
    return f"hdr Retry-After {RETRY_AFTER_SECONDS}"
