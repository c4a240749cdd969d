import { afterEach, describe, expect, it, vi } from "vitest";

/** The page's formats, as they are loaded in a browser that has chosen. */
async function formats(chosen: string | null) {
  vi.resetModules();
  vi.stubGlobal("localStorage", { getItem: () => chosen });
  return await import("./format");
}

afterEach(() => vi.unstubAllGlobals());

describe("the zone of times", () => {
  it("is UTC where that was chosen, whatever the offset that the server wrote", async () => {
    const { absolute, clock, date } = await formats("utc");
    expect(absolute("2026-01-02T01:00:00+02:00")).toBe("Jan 1, 2026, 23:00 UTC");
    expect(clock(1767323045)).toBe("03:04:05");
    expect(date("2026-01-02T01:00:00+02:00")).toBe("Jan 1, 2026");
  });
  it.each([null, "local", "nonsense"])("is the browser's own with %j", async (chosen) => {
    const { chosenZone } = await formats(chosen);
    expect(chosenZone()).toBe("local");
  });
  it("is the browser's own where it keeps nothing", async () => {
    vi.resetModules();
    vi.stubGlobal("localStorage", {
      getItem: () => {
        throw new Error("refused");
      },
    });
    expect((await import("./format")).chosenZone()).toBe("local");
  });
});
