/** Every request of the page: typed by the server's own description, with the session's sign that it is ours and a key that makes a double click one act. */
import createFetchClient, { type Middleware } from "openapi-fetch";
import createClient from "openapi-react-query";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type Problem = Partial<Schemas["Problem"]> & { detail?: string };

/** After this long without an answer the page says so; what was asked for may still happen, so it is not asked again by itself. */
export const LONGEST_MS = 60_000;

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

/** What stands between may answer in a language of its own, or nobody at all: it becomes a problem like the server's own. */
function problem(status: number, detail: string, hint: string, requestId: string | null = null): Response {
  const document = { status, detail, hint, code: "no_answer", request_id: requestId };
  return Response.json(document, { status, headers: { "Content-Type": "application/problem+json" } });
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
    if (response.ok || /json/.test(response.headers.get("Content-Type") ?? "")) return response;
    const hint = "It did not say why; what stands between may have answered for it.";
    return problem(
      response.status,
      `The server answered ${response.status}.`,
      hint,
      response.headers.get("X-Request-ID"),
    );
  },
  // A failed connection is an answer too: whoever asked shows it, and a button does not wait for ever.
  onError({ error }) {
    if (error instanceof Late)
      return problem(504, "The server did not answer in time.", "Look what has happened before you try again.");
    if (error instanceof DOMException && error.name === "AbortError") return undefined;
    return problem(503, "The server cannot be reached.", "What is shown may be old; the page tries again by itself.");
  },
};

class Late extends Error {}

async function within(request: Request): Promise<Response> {
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(), LONGEST_MS);
  try {
    return await fetch(request, { signal: AbortSignal.any([request.signal, late.signal]) });
  } catch (error) {
    throw late.signal.aborted ? new Late() : error;
  } finally {
    clearTimeout(timer);
  }
}

export const http = createFetchClient<paths>({ baseUrl: "", fetch: within });
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

/** Whether the server says that it is not there, or not for whoever asks: asking again changes nothing. */
export function isRefusal(error: unknown): boolean {
  const status = (error as Problem | null)?.status;
  return status === 404 || status === 403;
}
