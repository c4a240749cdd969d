import { describe, expect, it } from "vitest";
import { bodyOfReach, grantsOf, reachWords } from "./grants";

describe("roles for single agents", () => {
  it("come back as they are", () => {
    const grants = { WowMemory: "operator", WowCache: "admin" };
    expect(bodyOfReach({ agents: [], grants: grantsOf(grants) })).toEqual({ agents: null, grants });
  });
  it("leave out lines that name no agent, and the last of two for the same counts", () =>
    expect(
      bodyOfReach({
        agents: ["WowMemory"],
        grants: [
          { agent: " ", role: "admin" },
          { agent: "WowCache", role: "operator" },
          { agent: " WowCache ", role: "viewer" },
        ],
      }),
    ).toEqual({ agents: ["WowMemory"], grants: { WowCache: "viewer" } }));
  it("are said in words", () => {
    expect(reachWords(null, {})).toBe("all agents");
    expect(reachWords(["WowMemory"], { WowCache: "operator" })).toBe("only WowMemory; operator of WowCache");
  });
});
