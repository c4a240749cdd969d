import { describe, expect, it } from "vitest";
import { planned } from "./plan";

const version = (number: string, change: object = {}) => ({
  version: number,
  type: "minor",
  upgradable: true,
  compatibility: "",
  breaking_changes: [],
  ...change,
});
const versions = {
  current_version: "1.0.0",
  recommended: { version: "1.0.1" },
  available_versions: [version("2.0.0", { type: "major" }), version("1.1.0"), version("1.0.1", { type: "patch" })],
};

describe("what an agent would get", () => {
  it("is what is recommended", () =>
    expect(planned("A", versions, "recommended", "")).toEqual({ agent: "A", from: "1.0.0", to: "1.0.1", why: "" }));
  it("is nothing that breaks something", () =>
    expect(planned("A", versions, "newest", "")).toMatchObject({
      to: "2.0.0",
      why: expect.stringContaining("breaks"),
    }));
  it("is the newest that it can go to directly", () => {
    const far = { ...versions, available_versions: [version("2.0.0", { upgradable: false }), version("1.1.0")] };
    expect(planned("A", far, "newest", "")).toMatchObject({ to: "1.1.0", why: "" });
  });
  it("is nothing when nothing is newer, or for who may not", () => {
    const none = { current_version: "1.0.0", recommended: null, available_versions: [] };
    expect(planned("A", none, "newest", "").why).toContain("no newer");
    expect(planned("A", none, "recommended", "").why).toContain("recommended");
    expect(planned("A", versions, "recommended", "Needs the role operator").why).toContain("operator");
  });
});
