import { QueryClient, QueryObserver } from "@tanstack/react-query";
import { expect, it, vi } from "vitest";
import { refresher } from "./refresh";

const ALL = { agents: new Set<string>(), everything: true };

it("asks once more for what an event overtook, and breaks nothing off that is slow", async () => {
  const queries = new QueryClient();
  const asked: { signal: AbortSignal; answer: (value: number) => void }[] = [];
  const observer = new QueryObserver(queries, {
    queryKey: ["slow"],
    queryFn: ({ signal }) => new Promise<number>((answer) => asked.push({ signal, answer })),
  });
  const unwatch = observer.subscribe(() => {});
  const { refresh, stop } = refresher(queries);
  for (let event = 0; event < 5; event += 1) refresh(ALL);
  expect(asked.length).toBe(1);
  asked[0]?.answer(1);
  await vi.waitFor(() => expect(asked.length).toBe(2));
  expect(asked.some(({ signal }) => signal.aborted)).toBe(false);
  asked[1]?.answer(2);
  await vi.waitFor(() => expect(observer.getCurrentResult().data).toBe(2));
  expect(asked.length).toBe(2);
  refresh(ALL);
  await vi.waitFor(() => expect(asked.length).toBe(3));
  stop();
  unwatch();
});
