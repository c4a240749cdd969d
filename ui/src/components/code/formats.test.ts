import { describe, expect, it } from "vitest";
import { formatOf, locate } from "./formats";

const doc = { model: "small", limits: { rate: 5, "per.day": 9 }, steps: [{ name: "one" }, { name: "two" }] };

describe.each(["json", "yaml"] as const)("%s", (name) => {
  it("reads what it writes", async () => {
    const format = await formatOf(name);
    expect(format.read(format.write(doc))).toEqual({ doc });
    expect(format.read(format.write({}))).toEqual({ doc: {} });
  });
  it.each([
    ["model", "model"],
    ["limits.rate", "rate"],
    ["limits.per.day", "per.day"],
    ["limits.unknown", "limits"],
    ["steps.1.name", "name"],
    ["nothing", ""],
  ])("knows where %s stands", async (path, key) => {
    const format = await formatOf(name);
    const text = format.write(doc);
    const { from, to } = locate(format.language, text, path);
    expect(text.slice(from, to).replaceAll('"', "")).toBe(key);
    if (path === "steps.1.name") expect(text.slice(0, from)).toContain("one");
  });
  it("says what is wrong, and where", async () => {
    const format = await formatOf(name);
    const text = name === "json" ? '{\n  "a": 1,\n  "b": }' : "a: 1\nb: [1";
    const read = format.read(text);
    expect("problem" in read && read.problem.length > 5 && text.slice(0, read.at).split("\n").length).toBeGreaterThan(
      1,
    );
    expect(format.read("[1]")).toMatchObject({ problem: "A configuration is a table of keys and values." });
  });
});
