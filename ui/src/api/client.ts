/** Every request of the page: typed by the server's own description, with the session's sign that it is ours and a key that makes a double click one act. */
import createFetchClient, { type Middleware } from "openapi-fetch";
import createClient from "openapi-react-query";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type Problem = Partial<Schemas["Problem"]> & { detail?: string };

let csrfToken: string | null = null;
const whenSignedOut = new Set<() => void>();

export function setCsrfToken(token: string | null): void {
  csrfToken = token;
}

/** Called when the server says that the session is over; returns how to stop listening. */
export function onSignedOut(listener: () => void): () => void {
  whenSignedOut.add(listener);
  return () => whenSignedOut.delete(listener);
}

const ours: Middleware = {
  onRequest({ request }) {
    if (request.method !== "GET" && request.method !== "HEAD") {
      if (csrfToken) request.headers.set("X-CSRF-Token", csrfToken);
      if (!request.headers.has("Idempotency-Key")) request.headers.set("Idempotency-Key", crypto.randomUUID());
    }
    return request;
  },
  onResponse({ response }) {
    if (response.status === 401) for (const listener of whenSignedOut) listener();
    return response;
  },
};

export const http = createFetchClient<paths>({ baseUrl: "" });
http.use(ours);
export const api = createClient(http);

/** What to show of a failed request: the server's own sentence, what to do, and the id under which its log has it. */
export function problemOf(error: unknown): { title: string; hint: string; requestId: string } {
  const problem = (error ?? {}) as Problem & {
    hint?: string;
    request_id?: string;
    errors?: { path: string; message: string }[];
  };
  const fields = (problem.errors ?? []).map((each) => (each.path ? `${each.path}: ${each.message}` : each.message));
  return {
    title: problem.detail ?? (error instanceof Error ? "The server cannot be reached." : "That did not work."),
    hint: [...fields, problem.hint].filter(Boolean).join(" "),
    requestId: problem.request_id ?? "",
  };
}
