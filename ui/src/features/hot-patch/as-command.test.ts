import { expect, test } from "vitest";
import type { Schemas } from "../../api/client";
import { commandOf } from "./as-command";
import { FRESH } from "./options";

const base = { config: { limit: 10, mode: "fast", more: { deep: 1 } } } as unknown as Schemas["ConfigModel"];
const fresh = { base, doc: base.config, secrets: {}, options: FRESH, reason: "" };

test("nothing changed yet shows where the change would stand", () => {
  expect(commandOf("A", fresh)).toBe("servicing patch A KEY=VALUE --reason '…'");
});

test("what a shell would take apart is quoted, what it leaves alone is not", () => {
  const doc = { limit: 12.5, mode: "fast", more: { deep: 2 } };
  expect(commandOf("A", { ...fresh, doc, reason: "it's slow" })).toBe(
    `servicing patch A limit=12.5 more='{"deep":2}' --reason 'it'\\''s slow'`,
  );
});

test("a key that was taken out goes back to what lies below", () => {
  const { mode: _, ...doc } = base.config;
  expect(commandOf("A", { ...fresh, doc })).toBe("servicing patch A mode=null --reason '…'");
});

test("a secret that was typed is never shown", () => {
  const secrets = { "api.key": { path: ["api", "key"], value: "hunter2" } };
  expect(commandOf("A", { ...fresh, secrets })).toBe("servicing patch A api.key=secret:NAME --reason '…'");
});
