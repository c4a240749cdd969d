import { describe, expect, it } from "vitest";
import { groupsOf } from "./fields";
import { refusals } from "./wrong";

const groups = groupsOf(
  {
    properties: {
      rate: { type: "number" },
      workers: { type: "integer", "x-servicing-apply": "restart" },
      key: { type: "string", "x-servicing-secret": true },
    },
  },
  {},
);
const base = { rate: 1, workers: 2, key: "•••" };

describe("a change", () => {
  const wrong = (doc: Record<string, unknown>, restart: "locked" | "rolling" = "locked") =>
    refusals(base, doc, groups, "sdk", { restart, reach: "fast" }).map((each) => each.path);
  it("of a key that is read at the start waits until a restart is allowed", () => {
    expect(wrong({ ...base, workers: 3 })).toEqual(["workers"]);
    expect(wrong({ ...base, workers: 3 }, "rolling")).toEqual([]);
  });
  it("holds no secret in its text, only its name", () => {
    expect(wrong({ ...base, key: "typed" })).toEqual(["key"]);
    expect(wrong({ ...base, key: { $secret: "openai/key" } })).toEqual([]);
    expect(wrong({ rate: 1, workers: 2 })).toEqual([]);
  });
});
