import { describe, expect, it } from "vitest";
import { sidesOfEntry } from "./sides";

describe("an entry of the audit", () => {
  it.each([
    [{ config_changes: { a: { old: 1, new: 2 } } }, { before: { a: 1 }, after: { a: 2 } }],
    [
      { before: null, after: { holder: "admin" } },
      { before: {}, after: { holder: "admin" } },
    ],
    [
      { before: ["one"], after: ["two"] },
      { before: { value: ["one"] }, after: { value: ["two"] } },
    ],
    [
      { from_version: "1.0.0", to_version: "1.1.0" },
      { before: { version: "1.0.0" }, after: { version: "1.1.0" } },
    ],
    [{ to_version: "1.0.0" }, { before: {}, after: { version: "1.0.0" } }],
    [{ type: "sign_in" }, null],
  ])("%j has these sides", (entry, sides) => expect(sidesOfEntry(entry)).toEqual(sides));
});
