import { expect, test } from "vitest";
import { afterwards } from "./afterwards";

const upgrade = { kind: "upgrade", status: "completed", from_version: "1.0.0", to_version: "1.1.0" };
const rollback = { kind: "rollback", status: "completed", from_version: "1.1.0", to_version: "1.0.0" };

test("from what an upgrade brought one may go back, until something else serves", () => {
  expect(afterwards(upgrade, "1.1.0")).toEqual({ verb: "back" });
  expect(afterwards(upgrade, "1.2.0")).toBeNull();
});

test.each(["rolled_back", "cancelled", "failed"])("an upgrade that is %s may be tried again", (status) => {
  expect(afterwards({ ...upgrade, status }, "1.0.0")).toEqual({ verb: "forward", version: "1.1.0" });
  expect(afterwards({ ...upgrade, status }, "1.1.0")).toBeNull();
});

test("after a rollback one may go forward again", () => {
  expect(afterwards(rollback, "1.0.0")).toEqual({ verb: "forward", version: "1.1.0" });
  expect(afterwards(rollback, "1.2.0")).toBeNull();
  expect(afterwards({ ...rollback, from_version: null }, "1.0.0")).toBeNull();
});

test("a state that was put back changed no version, so there is none to go to", () => {
  expect(afterwards({ ...rollback, from_version: "1.0.0" }, "1.0.0")).toBeNull();
});

test("a rollback that did not succeed may be asked for again", () => {
  expect(afterwards({ ...rollback, status: "failed" }, "1.1.0")).toEqual({ verb: "back" });
});

test("nothing is left of a restart or of the first installation", () => {
  for (const kind of ["restart", "install"]) expect(afterwards({ ...upgrade, kind }, "1.1.0")).toBeNull();
});
