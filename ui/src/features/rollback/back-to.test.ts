import { describe, expect, it } from "vitest";
import { backTo } from "./back-to";

const at = "2026-01-01T00:00:00Z";
const point = (version: string) => ({ version, deployed_at: at, can_rollback: true, note: "" });
const versions = (found: { version: string }[]) => found.map(({ version }) => version);

describe("where one can go back to", () => {
  it("is not what serves, while nothing else is on its way", () =>
    expect(versions(backTo([point("1.1.0"), point("1.0.0")], "1.1.0", at, false))).toEqual(["1.0.0"]));
  it("is first of all what serves, while an upgrade is under way: also the first one ever", () => {
    expect(versions(backTo([point("1.0.0")], "1.1.0", at, true))).toEqual(["1.1.0", "1.0.0"]);
    expect(backTo([], "1.1.0", at, true)).toEqual([point("1.1.0")]);
  });
});
