"""The rules every request passes in HAProxy, in order: which agent, which generation, counted where, answered how. Pure text.

HAProxy evaluates a named condition anew wherever it is used, so `kept` and `live` mean "by now".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from agent_servicing.core.manifest import ConversationKey

RETRY_AFTER_SECONDS = 2
"""What a client without an answer is told to wait; a crashed instance is usually back by then."""

LAST_RESORT = "use-server %[var(txn.last)] if { var(txn.last) -m found }"
"""In every backend: a draining server answers when nothing else can."""

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
    """Bodies for errors that HAProxy finds itself, after an instance was chosen."""
    texts = {
        502: ("The agent broke off its answer", "The instance that had this request closed the connection before it answered."),
        503: (
            "The agent cannot be reached",
            "No instance of the agent accepted the connection. It is probably restarting; try again soon.",
        ),
        504: ("The agent did not answer in time", "The instance that had this request took longer than the data plane waits."),
    }
    return [
        f"  http-error status {status} content-type application/problem+json string '{_problem(status, *text)}' {_retry_after()}"
        for status, text in texts.items()
    ]


def frontend(keys: Sequence[ConversationKey], maps: Maps, *, radix: int, unknown: int) -> list[str]:
    """Everything between `bind` and the backends."""
    return [
        *_which_agent(maps),
        *_which_conversation(keys),
        *_which_generation(maps),
        *_which_backend(maps),
        *_count(),
        *_answer(maps, radix, unknown),
        "use_backend %[var(txn.backend)]",
    ]


def _which_agent(maps: Maps) -> list[str]:
    detail = "The first part of the path or of the host name must be the id of an agent, exactly as it was added."
    return [
        "http-request set-var(txn.began) date(0,us)",
        "acl dotted req.hdr(host),field(2,.) -m found",
        f"http-request set-var(txn.hosted) req.hdr(host),host_only,lower,field(1,.),map_str({maps.hosts}) if dotted",
        "acl by_host var(txn.hosted) -m found",
        "http-request set-var(txn.agent) var(txn.hosted) if by_host",
        "http-request set-var(txn.agent) path,field(2,/) unless by_host",
        f"http-request set-var(txn.row) var(txn.agent),map_str({maps.agents})",
        "acl known var(txn.row) -m found",
        *_reply(404, "No such agent", detail, "!known"),
        "http-request del-header X-Forwarded-Prefix if by_host",
        "http-request set-header X-Forwarded-Prefix /%[var(txn.agent)] unless by_host",
        "http-request set-path /%[path,field(3,/,0)] unless by_host",
        "http-request set-header X-Forwarded-Proto http unless { req.hdr(X-Forwarded-Proto) -m found }",
        "option forwardfor",
    ]


def _which_conversation(keys: Sequence[ConversationKey]) -> list[str]:
    rules = ["http-request set-var(txn.key) var(txn.row),field(5,|)"]
    for key in keys:
        fetch = _FETCH[key.kind].format(key.name)
        rules.append(f"http-request set-var(txn.conversation) {fetch} if {{ var(txn.key) -m str {key} }}")
    return [
        *rules,
        "acl talk var(txn.conversation),length gt 0",
        "http-request set-var(txn.topic) var(txn.agent),concat(/,txn.conversation) if talk",
        "http-request set-var(txn.pinkey) var(txn.topic),xxh64 if talk",
    ]


def _which_generation(maps: Maps) -> list[str]:
    """`txn.to` becomes the target: where the pin leads, else candidate or stable by the bucket."""
    return [
        "http-request track-sc0 var(txn.pinkey) table pins if talk",
        "http-request set-var(txn.pin) sc_get_gpt0(0) if talk",
        "acl pinned var(txn.pin) -m int gt 0",
        # Pins from before a restart; what the table knows is newer.
        f"http-request set-var(txn.pin) var(txn.pinkey),map_str_int({maps.saved_pins},0) if talk !pinned",
        "http-request set-var(txn.slot) var(txn.row),field(1,|) if pinned",
        f"http-request set-var(txn.to) var(txn.slot),concat(.,txn.pin),map_str({maps.pins}),field(1,|) if pinned",
        "acl kept var(txn.to),length gt 0",
        "http-request set-var(txn.kind) int(1) if kept",
        "http-request set-var(txn.bucket) var(txn.topic),xxh32(7),mod(10000) if talk !kept",
        "http-request set-var(txn.bucket) rand(10000) unless talk",
        "http-request set-var(txn.share) var(txn.row),field(4,|)",
        "http-request set-var(txn.to) var(txn.row),field(3,|) if !kept { var(txn.bucket),sub(txn.share) lt 0 }",
        "http-request set-var(txn.to) var(txn.row),field(2,|) if !kept",
    ]


def _which_backend(maps: Maps) -> list[str]:
    """`txn.backend` of the target; when nothing there is usable, of stable, of the candidate, then a draining server of either."""
    rules = ["http-request set-var(txn.backend) var(txn.to),field(2,:)", "acl live var(txn.backend),nbsrv gt 0"]
    rules += ["http-request set-var(txn.live) int(1) if live", "acl fine var(txn.live) -m found"]
    for field in (2, 3):
        rules += [
            f"http-request set-var(txn.other) var(txn.row),field({field},|) unless fine",
            "http-request set-var(txn.backend) var(txn.other),field(2,:) unless fine",
            "http-request set-var(txn.to) var(txn.other) if !fine live",
            "http-request set-var(txn.live) int(1) if !fine live",
        ]
    for field in (2, 3):
        rules += [
            f"http-request set-var(txn.other) var(txn.row),field({field},|) unless fine",
            "http-request set-var(txn.backend) var(txn.other),field(2,:) unless fine",
            f"http-request set-var(txn.last) var(txn.backend),concat(/last),map_str({maps.labels}) unless fine",
            "http-request set-var(txn.to) var(txn.other) if !fine { var(txn.last) -m found }",
            "http-request set-var(txn.live) int(1) if !fine { var(txn.last) -m found }",
        ]
    detail = "It has no running instance at the moment. It is probably starting; try again in a few seconds."
    return [
        *rules,
        "http-request set-var(txn.id) var(txn.row),field(6,|) unless fine",
        "http-request track-sc1 var(txn.id) table tallies unless fine",
        *_reply(503, "The agent has nothing to serve this request", detail, "!fine", retry=True),
    ]


def _count() -> list[str]:
    return [
        "http-request set-var(txn.generation) var(txn.to),field(1,:)",
        "http-request sc-set-gpt0(0) var(txn.generation) if talk !{ sc_get_gpt0(0),sub(txn.generation) eq 0 }",
        "http-request set-var(txn.id) var(txn.to),field(3,:)",
        "http-request set-var(txn.id) var(txn.id),add(txn.kind) if { var(txn.kind) -m found }",
        "http-request track-sc1 var(txn.id) table tallies",
        # Only what is harmless to repeat may be sent again after it may have arrived.
        "http-request disable-l7-retry unless { method GET HEAD OPTIONS }",
    ]


def _answer(maps: Maps, radix: int, unknown: int) -> list[str]:
    """Who answered, and one count per answer: its latency bucket, or an error, or a refusal (4xx)."""
    return [
        "http-response set-var-fmt(txn.where) %b/%s",
        f"http-response set-header X-Served-By %[var(txn.where),map_str({maps.labels},-)]",
        f"http-response set-var(txn.bucket) date(0,us),sub(txn.began),map_ip({maps.latency},{unknown})",
        f"http-response track-sc2 var(txn.id),mul({radix}),add(txn.bucket) table latencies if {{ status lt 400 }}",
        "http-after-response sc-inc-gpc(0,1) if { status ge 500 }",
        "http-after-response sc-inc-gpc(1,1) if { status 400:499 }",
        "acl answered var(txn.where) -m found",
        "http-after-response set-header X-Served-By %[var(txn.agent)]@-/router if !answered known",
        "http-after-response set-header X-Served-By -@-/router if !answered !known",
    ]


def _reply(status: int, title: str, detail: str, condition: str, *, retry: bool = False) -> list[str]:
    extra = f" {_retry_after()}" if retry else ""
    page, problem = _PAGE.format(title=title, detail=detail), _problem(status, title, detail)
    html = "{ req.hdr(accept) -m sub text/html }"
    return [
        f"http-request return status {status} content-type 'text/html; charset=utf-8' string '{page}'{extra} if {condition} {html}",
        f"http-request return status {status} content-type application/problem+json string '{problem}'{extra} if {condition}",
    ]


def _problem(status: int, title: str, detail: str) -> str:
    return json.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail})


def _retry_after() -> str:
    return f"hdr Retry-After {RETRY_AFTER_SECONDS}"
