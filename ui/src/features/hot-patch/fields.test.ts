import { describe, expect, it } from "vitest";
import { groupsOf, lockOf, rangeOf, reservedGroup, unitOf } from "./fields";

const schema = {
  $defs: { Retry: { type: "object", description: "When it fails", properties: { times: { type: "integer" } } } },
  properties: {
    timeout_seconds: { type: "number", exclusiveMinimum: 0, maximum: 300, description: "Longest wait" },
    model: { enum: ["small", "large"], "x-servicing-apply": "next-conversation" },
    api_key: { type: "string", "x-servicing-secret": true },
    workers: { type: "integer", minimum: 1, default: 4, "x-servicing-apply": "restart" },
    tags: { type: "array" },
    retry: { $ref: "#/$defs/Retry", "x-servicing-apply": "restart" },
    note: { anyOf: [{ type: "string", maxLength: 40 }, { type: "null" }] },
  },
};

describe("a schema", () => {
  const groups = groupsOf(schema, { extra: true });
  const fields = new Map(groups.flatMap((group) => group.fields.map((field) => [field.key, field])));
  it("becomes groups of fields of every kind, with what has no schema among them", () => {
    expect(groups.map((group) => [group.title, group.fields.length])).toEqual([
      ["", 7],
      ["retry", 1],
    ]);
    expect([...fields].map(([key, field]) => `${key} ${field.kind}`)).toEqual([
      "timeout_seconds number",
      "model choice",
      "api_key secret",
      "workers integer",
      "tags other",
      "note text",
      "extra switch",
      "retry.times integer",
    ]);
  });
  it("says units and ranges", () => {
    expect(fields.get("timeout_seconds")).toMatchObject({ unit: "s", range: "above 0, up to 300", high: 300 });
    expect(fields.get("note")?.range).toBe("at most 40 characters");
    expect(rangeOf({ minimum: 1, maximum: 9 })).toBe("1 to 9");
  });
  it("hands down when a change takes effect", () => expect(fields.get("retry.times")?.scope).toBe("restart"));
  it("has the reserved keys in one group", () => {
    const found = reservedGroup({
      properties: { log_level: { enum: ["INFO"] }, resources: { properties: { memory_mb: {} } } },
    });
    expect(found.fields.map((field) => field.key)).toEqual(["servicing.log_level", "servicing.resources.memory_mb"]);
  });
});

describe("units", () => {
  it.each([
    ["timeout_seconds", "s"],
    ["requests_per_second", "per s"],
    ["max_context_size_gb", "GB"],
    ["latency_ms", "ms"],
    ["model", ""],
  ])("of %s is %j", (name, unit) => expect(unitOf(name)).toBe(unit));
});

describe("a key", () => {
  const here = { reload: "sdk", restart: "locked", places: false };
  it.each([
    [{ path: ["a"], scope: "hot" }, here, ""],
    [{ path: ["a"], scope: "restart" }, here, "It is read at the start only. Allow a rolling restart to change it."],
    [{ path: ["a"], scope: "restart" }, { ...here, restart: "rolling" }, ""],
    [
      { path: ["a"], scope: "hot" },
      { ...here, reload: "restart" },
      "This agent reads its configuration at the start only. Allow a rolling restart to change it.",
    ],
    [{ path: ["servicing", "log_level"], scope: "hot" }, { ...here, reload: "restart" }, ""],
    [
      { path: ["servicing", "rate_limit"], scope: "hot" },
      { ...here, places: true },
      "The router does this for all instances together, not for chosen ones.",
    ],
  ])("%j under %j is locked by %j", (field, how, why) => expect(lockOf(field, how)).toBe(why));
});
