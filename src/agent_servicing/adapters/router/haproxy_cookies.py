"""The script that keeps the server's own cookies between the browser and the server; the process driver writes it beside the configuration.

Browsers send a cookie to every port of a host, so that an agent's page would get the session of whoever is signed in at the server, and
could plant one. The rules call it only for headers that name such a cookie; all others pass untouched. Pure text.
"""

from typing import Final

NAMES: Final = ("servicing_session", "servicing_oidc")
"""Cookies of the server's API, some behind `__Host-`. A test holds them against what the API sets."""

_BEGINNING: Final = "servicing_"

_SCRIPT: Final = """\
local own = {{{own}}}

local function ours(cookie)
  -- Browsers send a cookie without a name as its bare value, which may look like one with a name.
  local name = string.lower(string.match(cookie, "^[%s=]*([^=;]-)%s*[=;]") or string.match(cookie, "^[%s=]*(.-)%s*$"))
  name = string.gsub(string.gsub(name, "^__host%-", ""), "^__secure%-", "")
  return own[name] == true
end

local function keep_own_cookies(txn)
  local found = txn.http:req_get_headers()["cookie"] or {{}}
  txn.http:req_del_header("cookie")
  for index = 0, #found do
    local kept = {{}}
    for cookie in string.gmatch(found[index] or "", "[^;]+") do
      if not ours(cookie) then kept[#kept + 1] = string.match(cookie, "^%s*(.*)$") end
    end
    if #kept > 0 then txn.http:req_add_header("Cookie", table.concat(kept, "; ")) end
  end
end

local function refuse_own_cookies(txn)
  local found = txn.http:res_get_headers()["set-cookie"] or {{}}
  txn.http:res_del_header("set-cookie")
  for index = 0, #found do
    if found[index] and not ours(found[index]) then txn.http:res_add_header("Set-Cookie", found[index]) end
  end
end

core.register_action("keep_own_cookies", {{"http-req"}}, keep_own_cookies)
core.register_action("refuse_own_cookies", {{"http-res"}}, refuse_own_cookies)
"""


def cookie_script() -> str:
    return _SCRIPT.format(own=", ".join(f"{name} = true" for name in NAMES))


def from_requests() -> str:
    """The rule that takes them out of what goes to an agent."""
    return f"http-request lua.keep_own_cookies if {{ req.fhdr(cookie) -m sub -i {_BEGINNING} }}"


def from_answers() -> str:
    """The rule that takes them out of what an agent answers."""
    return f"http-response lua.refuse_own_cookies if {{ res.fhdr(set-cookie) -m sub -i {_BEGINNING} }}"
