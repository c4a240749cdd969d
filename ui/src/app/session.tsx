/** Who sits there. Everything below it is shown to somebody who is signed in; the page stays where it is when the session ends, so that nothing typed is lost. */
import { Center, Loader, Title } from "@mantine/core";
import { useQuery, useQueryClient } from "@tanstack/react-query";
import { createContext, lazy, type ReactNode, Suspense, useContext, useEffect, useMemo, useRef, useState } from "react";
import { http, onSignedOut, type Schemas, setCsrfToken } from "../api/client";
import { Failed } from "../components/panel";

type Me = Schemas["Me"];
export type Role = "viewer" | "operator" | "admin";
const AGAIN_MS = 5000;
const ME = ["me"];
const ORDER: Role[] = ["viewer", "operator", "admin"];

interface Session {
  me: Me;
  signOut: () => Promise<void>;
}

/** Most visitors are signed in already: they do not wait for the form. */
const SignIn = lazy(() => import("../features/sign-in/sign-in").then(({ SignIn }) => ({ default: SignIn })));

const SessionContext = createContext<Session | null>(null);

export function useSession(): Session {
  const session = useContext(SessionContext);
  if (!session) throw new Error("there is no session here");
  return session;
}

/** Whether there is nothing at all that they may change. */
export function useReadOnly(): boolean {
  const { me } = useSession();
  return [me.role, ...Object.values(me.grants)].every((role) => role === "viewer");
}

/** Why somebody may not do this, empty when they may. */
export function useMay(needed: Role, agent?: string): string {
  return mayWith(useSession().me, needed, agent);
}

export function mayWith(me: Pick<Me, "role" | "grants">, needed: Role, agent?: string): string {
  const held = (agent ? me.grants[agent] : undefined) ?? me.role;
  if (ORDER.indexOf(held as Role) >= ORDER.indexOf(needed)) return "";
  return `Needs the role ${needed}${agent ? ` for ${agent}` : ""}; you are ${held}. Ask an admin.`;
}

async function whoIsThere(): Promise<Me | null> {
  // Asked first, because it may be asked by anybody: an answer of 401 would stand in the console as an error.
  const ways = await http.GET("/api/platform/session");
  if (ways.error) throw ways.error;
  if (!ways.data?.signed_in) return null;
  const { data, response, error } = await http.GET("/api/platform/me");
  if (data) return data;
  if (response.status === 401) return null;
  throw error;
}

export function SessionGate({ children }: { children: ReactNode }) {
  const queries = useQueryClient();
  const [over, setOver] = useState(false);
  const me = useQuery({
    queryKey: ME,
    queryFn: async (): Promise<Me | null> => {
      const found = await whoIsThere();
      if (found) {
        // Only now may the form go: what was asked for earlier would carry the old session's token, and be refused.
        setCsrfToken(found.csrf_token);
        setOver(false);
        return found;
      }
      // Whoever was here stays in sight below the form, and with them what they typed.
      const former = queries.getQueryData<Me | null>(ME) ?? null;
      setOver(former !== null);
      return former;
    },
    // A server that cannot be asked is no reason to ask somebody for a password.
    refetchInterval: (query) => (query.state.status === "error" ? AGAIN_MS : false),
    staleTime: Number.POSITIVE_INFINITY,
  });
  useEffect(() => onSignedOut(() => setOver(true)), []);
  const session = useMemo<Session | null>(
    () =>
      me.data
        ? {
            me: me.data,
            signOut: async () => {
              await http.DELETE("/api/platform/session");
              window.location.assign("/");
            },
          }
        : null,
    [me.data],
  );
  // Asking again forgets the failure; it is shown until there is an answer.
  const failure = useRef<unknown>(null);
  if (me.error) failure.current = me.error;
  if (me.isPending && failure.current === null) {
    return (
      <Center mih="60vh">
        <Loader role="status" aria-label="Loading" />
      </Center>
    );
  }
  if (me.data === undefined) {
    return (
      <main id="main">
        <Center mih="60vh">
          <div>
            <Title order={1}>Agent Servicing</Title>
            <Failed error={failure.current} again={() => void me.refetch()} />
          </div>
        </Center>
      </main>
    );
  }
  const signedIn = () => queries.invalidateQueries();
  if (!session)
    return (
      <Suspense>
        <SignIn onDone={signedIn} />
      </Suspense>
    );
  return (
    <SessionContext.Provider value={session}>
      {children}
      {over && (
        <Suspense>
          <SignIn onDone={signedIn} over />
        </Suspense>
      )}
    </SessionContext.Provider>
  );
}
