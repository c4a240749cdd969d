"""The script that HAProxy runs for requests with a timeout; the process driver writes it beside the configuration. Pure text.

HAProxy's own timeout of a server counts silence and cannot be changed once an answer has begun, so a short one would cut streams. The script
waits for the beginning of the answer only: it is asked when the request was handed to an instance, whenever something comes back, and when
the time is over.
"""

import json
from typing import Final

TITLE: Final = "The agent did not answer in time"
DETAIL: Final = "Its answer did not begin within the time that its operator allows for a request."

_SCRIPT: Final = """\
local function milliseconds()
  local now = core.now()
  return now.sec * 1000 + now.usec // 1000
end

local function answer_in_time(txn)
  -- An answer has begun, or the instance has closed the connection: HAProxy goes on as it always does.
  if txn.f:status() or not txn.res:may_recv() then return act.CONTINUE end
  local since = txn:get_priv()
  if not since then
    since = milliseconds()
    txn:set_priv(since)
  end
  local left = since + tonumber(txn:get_var("txn.timeout")) - milliseconds()
  if left > 0 then
    act.wake_time(left)
    return act.YIELD
  end
  local reply = txn:reply{{status = 504, reason = "Gateway Timeout"}}
  reply:add_header("Content-Type", "application/problem+json")
  reply:add_header("X-Served-By", txn:get_var("txn.agent") .. "@-/router")
  reply:set_body({body})
  txn:done(reply)
  return act.DONE
end

core.register_action("answer_in_time", {{"tcp-res"}}, answer_in_time)
"""


def timeout_script() -> str:
    problem = {"type": "about:blank", "title": TITLE, "status": 504, "detail": DETAIL}
    return _SCRIPT.format(body=f"'{json.dumps(problem)}'")
