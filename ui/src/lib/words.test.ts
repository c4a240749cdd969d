import { describe, expect, it } from "vitest";
import { isTyped, quoted } from "./words";

describe("a name that has to be typed", () => {
  it.each([
    ["WowMemory", true],
    [" WowMemory ", true],
    ["wowmemory", false],
    ["WowMemor", false],
    ["", false],
  ])("%j confirms WowMemory: %s", (text, confirmed) => expect(isTyped(text, "WowMemory")).toBe(confirmed));
});

describe("a word for a shell", () => {
  it("survives quotes and whatever else is in it", () => expect(quoted("it's $HOME")).toBe("'it'\\''s $HOME'"));
});
