import { expect, it } from "vitest";
import { keyOf, matching } from "./match";

it.each([
  ["", "Audit", true],
  ["cache up", "WowCache: upgrade", true],
  ["up cache", "WowCache: upgrade", true],
  ["cache down", "WowCache: upgrade", false],
])("“%s” in “%s” is %s", (words, label, found) => expect(matching(words, label)).toBe(found));

const plain = { ctrlKey: false, metaKey: false, altKey: false };

it("knows its keys, and leaves letters to whoever types", () => {
  expect(keyOf({ ...plain, key: "k", ctrlKey: true }, true)).toBe("palette");
  expect(keyOf({ ...plain, key: "K", metaKey: true }, false)).toBe("palette");
  expect(keyOf({ ...plain, key: "k" }, false)).toBe(null);
  expect(keyOf({ ...plain, key: "?" }, false)).toBe("help");
  expect(keyOf({ ...plain, key: "?" }, true)).toBe(null);
});
