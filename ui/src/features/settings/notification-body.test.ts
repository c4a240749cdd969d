import { describe, expect, it } from "vitest";
import { bodyOf, withoutTarget, withRule } from "./notification-body";

const rule = (name: string, ...targets: string[]) => ({
  name,
  targets,
  agents: null,
  kinds: null,
  min_severity: "warning" as const,
});
const view = {
  revision: 4,
  targets: [
    { name: "chat", url: "slack://****", service: "Slack", enabled: true },
    { name: "mail", url: "mailto://****", service: "E-Mail", enabled: false },
  ],
  rules: [rule("bad-news", "chat", "mail"), rule("all", "mail")],
  same_for_seconds: 300,
  give_up_seconds: 3600,
  page_url: "",
  delivery: [],
};

describe("the settings of notifications as they are sent", () => {
  it("hold no address, so that each stays as it is, and the revision that was seen", () => {
    expect(JSON.stringify(bodyOf(view))).not.toContain("****");
    expect(bodyOf(view)).toMatchObject({
      if_revision: 4,
      targets: [{ name: "chat" }, { name: "mail", enabled: false }],
    });
  });
  it("get a further rule for the same target", () =>
    expect(withRule(view.rules, rule("cache", "chat")).map((each) => each.name)).toEqual(["bad-news", "all", "cache"]));
  it("have a changed rule in its place, also under another name", () =>
    expect(withRule(view.rules, rule("news", "chat"), "bad-news").map((each) => each.name)).toEqual(["news", "all"]));
  it("lose the rules that only led to a target that goes", () => {
    const body = withoutTarget(view, "mail");
    expect(body.targets.map((each) => each.name)).toEqual(["chat"]);
    expect(body.rules?.map((each) => [each.name, each.targets])).toEqual([["bad-news", ["chat"]]]);
  });
});
