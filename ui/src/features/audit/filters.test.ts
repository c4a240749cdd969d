import { describe, expect, it } from "vitest";
import { choices, filtersOf } from "./filters";

describe("what is looked for", () => {
  it("in whole days is asked for from midnight to midnight, the last one included", () => {
    const { since, until, agent } = filtersOf({ agent: "Echo", since: "2026-01-31", until: "2026-01-31" });
    expect(agent).toBe("Echo");
    expect([since, until]).toEqual([new Date(2026, 0, 31).toISOString(), new Date(2026, 1, 1).toISOString()]);
  });
  it("is left out where it is empty or no day", () =>
    expect(filtersOf({ operator: undefined, since: "yesterday", until: "2026-13-45" })).toEqual({}));
  it("can be chosen, also when only the address knows it", () => {
    expect(choices("results", "safe_to_deploy").at(-1)).toEqual({ value: "safe_to_deploy", label: "safe to deploy" });
    expect(choices("kinds", "upgrade")).toHaveLength(choices("kinds", undefined).length);
  });
});
